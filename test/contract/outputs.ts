/** The responses of all procedures as schemas. The compiler compares each with the type that its procedure returns. */
import type { AnyTRPCProcedure, inferProcedureOutput } from '@trpc/server'
import { z } from 'zod'
import type { AppRouter } from '../../server/routers/app.js'
import { mcpTestFailures } from '../../shared/contract/admin/mcp-servers.js'
import { providerTestFailures, providerWarnings } from '../../shared/contract/admin/providers.js'
import { userStatuses } from '../../shared/contract/admin/users.js'
import { hiddenTurn, pinnedTool } from '../../shared/contract/conversations.js'
import { accessTokenErrors } from '../../shared/contract/mcp-configurator.js'
import { providerTypes } from '../../shared/contract/provider-configurator.js'
import { endedBy, errorTypes, interceptionKinds } from '../../shared/contract/recorder.js'
import type { JsonObject } from '../../shared/values/text.js'
import { chatOutputs } from './chat-outputs.js'
import { processOutputs } from './process-outputs.js'

/** The response of a procedure: what a query or a mutation resolves with, and one item of a subscription. */
type ResponseOf<P extends AnyTRPCProcedure> = ItemOf<inferProcedureOutput<P>>
type ItemOf<O> =
  O extends AsyncIterable<infer Item, infer _Return, infer _Next>
    ? Item extends { id: string; data: infer Data } // an item that can be resumed
      ? Data
      : Item
    : O

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** The shape of `outputs`: a schema for each procedure. */
export type SchemasOf<Record> = {
  [Key in keyof Record]: Record[Key] extends AnyTRPCProcedure
    ? z.ZodType<ResponseOf<Record[Key]>>
    : SchemasOf<Record[Key]>
}

/** The paths of the procedures whose schema describes another type than the procedure returns. */
export type Differences<Schemas, Record> = {
  [Key in keyof Record & keyof Schemas & string]: Record[Key] extends AnyTRPCProcedure
    ? Schemas[Key] extends z.ZodType<infer Described>
      ? Equal<Described, ResponseOf<Record[Key]>> extends true
        ? never
        : Key
      : Key
    : `${Key}.${Differences<Schemas[Key], Record[Key]>}`
}[keyof Record & keyof Schemas & string]

type Procedures = AppRouter['_def']['record']

const interceptionKind = z.enum(interceptionKinds)
const json = z.custom<JsonObject>(value => typeof value === 'object' && value !== null && !Array.isArray(value))
const empty = z.record(z.string(), z.never())

const user = z.object({
  id: z.string(),
  username: z.string(),
  status: z.enum(userStatuses),
  isSystem: z.boolean(),
  createdAt: z.date(),
  deletedAt: z.date().nullable(),
})

const apiKey = z.object({
  id: z.string(),
  userId: z.string(),
  username: z.string().nullable(),
  name: z.string().nullable(),
  createdAt: z.date(),
  expiresAt: z.date().nullable(),
  lastUsedAt: z.date().nullable(),
})

const agent = z.object({
  id: z.string(),
  keyId: z.string(),
  name: z.string(),
  userId: z.string(),
  username: z.string().nullable(),
  createdAt: z.date(),
  expiresAt: z.date().nullable(),
  revokedAt: z.date().nullable(),
  lastSeenAt: z.date().nullable(),
  instance: z.string().nullable(),
  buildVersion: z.string().nullable(),
  isConnected: z.boolean(),
})

const daemonKey = z.object({
  id: z.string(),
  name: z.string().nullable(),
  delegate: z.boolean(),
  createdAt: z.date(),
  expiresAt: z.date().nullable(),
  revokedAt: z.date().nullable(),
  lastSeenAt: z.date().nullable(),
  buildVersion: z.string().nullable(),
})

const providerSettings = z.object({
  firstByteTimeoutMs: z.number().nullable(),
  idleTimeoutMs: z.number().nullable(),
  maxBodyBytes: z.number().nullable(),
  includeUsage: z.enum(['auto', 'never']).nullable(),
  fallbackUrls: z.array(z.string()).nullable(),
  maxParallelRequests: z.number().nullable(),
  modelsWithoutTools: z.array(z.string()).nullable(),
  priceList: z.string().nullable(),
})

const providerSummary = z.object({
  settings: providerSettings,
  name: z.string(),
  type: z.enum(providerTypes),
  enabled: z.boolean(),
  baseUrl: z.string(),
  keys: z.array(z.string()),
  keyDetails: z.array(
    z.object({
      id: z.string(),
      hint: z.string(),
      rejection: z
        .object({ status: z.number(), model: z.string().nullable(), reportedBy: z.string(), at: z.date() })
        .nullable(),
    }),
  ),
  warnings: z.array(z.enum(providerWarnings)),
  lastFailure: z.object({ interceptionId: z.string(), at: z.date(), errorType: z.enum(errorTypes) }).nullable(),
  createdAt: z.date(),
  updatedAt: z.date(),
})

const providerTest = z.object({
  name: z.string(),
  ok: z.boolean(),
  url: z.string(),
  key: z.string().nullable(),
  status: z.number().nullable(),
  models: z.number().nullable(),
  durationMs: z.number(),
  failure: z.enum(providerTestFailures).nullable(),
  message: z.string().nullable(),
})

const mcpServerConfig = z.object({
  id: z.string(),
  url: z.string(),
  toolAllowRegex: z.string().nullable(),
  toolDenyRegex: z.string().nullable(),
  inject: z.boolean(),
})

const mcpServer = z.object({
  ...mcpServerConfig.shape,
  tokenUrl: z.string().nullable(),
  clientId: z.string().nullable(),
  hasClientSecret: z.boolean(),
  validateUrl: z.string().nullable(),
  createdAt: z.date(),
  updatedAt: z.date(),
})

const externalAuthLink = z.object({
  userId: z.string(),
  username: z.string().nullable(),
  serverId: z.string(),
  expiresAt: z.date().nullable(),
  hasRefreshToken: z.boolean(),
  createdAt: z.date(),
  updatedAt: z.date(),
})

const interception = z.object({
  id: z.string(),
  initiatorId: z.string(),
  username: z.string().nullable(),
  apiKeyId: z.string(),
  provider: z.string(),
  providerName: z.string(),
  model: z.string(),
  startedAt: z.date(),
  client: z.string().nullable(),
  userAgent: z.string().nullable(),
  clientSessionId: z.string().nullable(),
  correlatingToolCallId: z.string().nullable(),
  credentialKind: z.enum(['centralized', 'byok']),
  credentialHint: z.string().nullable(),
  metadata: json.nullable(),
  endedAt: z.date().nullable(),
  errorType: z.enum(errorTypes).nullable(),
  errorMessage: z.string().nullable(),
  parentId: z.string().nullable(),
  rootId: z.string().nullable(),
  daemonKeyId: z.string().nullable(),
  daemonInstance: z.string().nullable(),
  endedBy: z.enum(endedBy).nullable(),
  interceptionKind,
  costNanos: z.string().nullable(),
  unpricedRecords: z.number(),
})

const interceptionEnd = z.object({
  id: z.string(),
  endedAt: z.date(),
  errorType: z.enum(errorTypes).nullable(),
  errorMessage: z.string().nullable(),
  credentialHint: z.string().nullable(),
  endedBy: z.enum(endedBy).nullable(),
})

const child = { id: z.string(), interceptionId: z.string(), metadata: json.nullable(), createdAt: z.date() }

const tokenUsage = z.object({
  ...child,
  msgId: z.string(),
  model: z.string().nullable(),
  inputTokens: z.number(),
  outputTokens: z.number(),
  cacheReadInputTokens: z.number(),
  cacheWriteInputTokens: z.number(),
  costNanos: z.string().nullable(),
  costEstimated: z.boolean(),
})
const promptUsage = z.object({ ...child, msgId: z.string(), prompt: z.string() })
const toolUsage = z.object({
  ...child,
  msgId: z.string(),
  toolCallId: z.string().nullable(),
  itemId: z.string().nullable(),
  serverUrl: z.string().nullable(),
  tool: z.string(),
  input: z.string(),
  injected: z.boolean(),
  invocationError: z.string().nullable(),
})
const modelThought = z.object({ ...child, content: z.string() })

const username = z.string().nullable()
const mcpServerTest = z.object({
  id: z.string(),
  username: z.string(),
  ok: z.boolean(),
  url: z.string(),
  tools: z.array(z.object({ name: z.string(), description: z.string(), offered: z.boolean() })),
  unusable: z.number(),
  durationMs: z.number(),
  failure: z.enum(mcpTestFailures).nullable(),
  message: z.string().nullable(),
})

const watchEvent = z.union([
  z.object({ kind: z.literal('watching') }),
  z.object({ kind: z.literal('interception'), record: interception, username, interceptionKind }),
  z.object({ kind: z.literal('interceptionEnded'), record: interceptionEnd, username, interceptionKind }),
  z.object({ kind: z.literal('tokenUsage'), record: tokenUsage, username, interceptionKind }),
  z.object({ kind: z.literal('promptUsage'), record: promptUsage, username, interceptionKind }),
  z.object({ kind: z.literal('toolUsage'), record: toolUsage, username, interceptionKind }),
  z.object({ kind: z.literal('modelThought'), record: modelThought, username, interceptionKind }),
])

const recordOutcome = z.union([
  z.object({ ok: z.literal(true) }),
  z.object({ ok: z.literal(false), code: z.enum(['BAD_REQUEST', 'NOT_FOUND', 'CONFLICT']), message: z.string() }),
])

const purgeProgress = z.object({
  userId: z.string(),
  done: z.boolean(),
  interceptions: z.number(),
  records: z.number(),
  apiKeys: z.number(),
  links: z.number(),
  conversations: z.number(),
  chats: z.number(),
  daemons: z
    .object({
      reached: z.number(),
      records: z.number(),
      unreached: z.array(
        z.object({ daemonKeyId: z.string().nullable(), name: z.string().nullable(), lastSeenAt: z.date() }),
      ),
    })
    .exactOptional(),
})

const usageRow = z.object({
  userId: z.string().nullable(),
  username: z.string().nullable(),
  keyId: z.string().nullable(),
  provider: z.string().nullable(),
  model: z.string().nullable(),
  client: z.string().nullable(),
  day: z.string().nullable(),
  interceptions: z.number(),
  inputTokens: z.number(),
  outputTokens: z.number(),
  cacheReadInputTokens: z.number(),
  cacheWriteInputTokens: z.number(),
  costNanos: z.string().nullable(),
  unpricedRecords: z.number(),
  estimatedRecords: z.number(),
})

const decimalRate = z.object({
  base: z.string(),
  tiers: z.array(z.object({ above: z.number(), rate: z.string() })).optional(),
})

const ownPrice = z.object({
  provider: z.string().nullable(),
  model: z.string(),
  rates: z
    .object({
      input: decimalRate,
      output: decimalRate,
      cacheRead: decimalRate.optional(),
      cacheWrite: decimalRate.optional(),
      cacheWrite1h: decimalRate.optional(),
      webSearch: decimalRate.optional(),
    })
    .nullable(),
  aliasOf: z.object({ list: z.string(), model: z.string(), factor: z.string().optional() }).nullable(),
  multipliers: z.record(z.string(), z.string()).nullable(),
  updatedAt: z.date(),
})

const unpricedModel = z.object({
  provider: z.string(),
  model: z.string(),
  records: z.number(),
  tokens: z.number(),
  lastAt: z.date(),
  reason: z.string().nullable(),
})

const priceExplanation = z.object({
  provider: z.string(),
  model: z.string(),
  at: z.date(),
  list: z.string().nullable(),
  price: z
    .object({
      list: z.string(),
      model: z.string(),
      match: z.enum(['exact', 'date', 'alias', 'own']),
      source: z.string(),
      factor: z.string().nullable(),
      multipliers: z.record(z.string(), z.string()),
      rates: z.array(
        z.object({
          class: z.string(),
          rate: z.string().nullable(),
          basis: z.enum(['list', 'input', 'output', 'input+list']).nullable(),
          tiers: z.array(z.object({ above: z.number(), rate: z.string() })),
        }),
      ),
    })
    .nullable(),
  reason: z.string().nullable(),
  similar: z.array(z.string()),
})

const auditRecord = z.object({
  id: z.string(),
  at: z.date(),
  actor: z.string(),
  action: z.string(),
  target: z.string().nullable(),
  username: z.string().nullable(),
  details: json.nullable(),
})

const provider = z.object({
  name: z.string(),
  type: z.enum(providerTypes),
  enabled: z.boolean(),
  baseUrl: z.string(),
  keys: z.array(z.string()),
  keyIds: z.array(z.string()).exactOptional(),
  revision: z.string().exactOptional(),
  settings: json.exactOptional(),
})

/** Every procedure's response, in the tree of the router. */
export const outputs = {
  recorder: {
    recordInterception: empty,
    recordInterceptionEnded: empty,
    recordTokenUsage: empty,
    recordPromptUsage: empty,
    recordToolUsage: empty,
    recordModelThought: empty,
    recordBatch: z.object({ results: z.array(recordOutcome) }),
    endAbandoned: z.object({ ended: z.number() }),
    watchErasures: z.object({ erasureId: z.string(), userId: z.string() }),
    confirmErasures: empty,
    retireOutbox: empty,
    ready: z.object({ isWritable: z.boolean() }),
  },
  authorizer: { isAuthorized: z.object({ ownerId: z.string(), apiKeyId: z.string(), username: z.string() }) },
  mcpConfigurator: {
    getServerConfigs: z.object({
      servers: z.array(z.object({ ...mcpServerConfig.shape, needsToken: z.boolean().exactOptional() })),
      hasConversations: z.boolean(),
      sessionSecret: z.string().exactOptional(),
    }),
    getServerAccessTokensBatch: z.object({
      accessTokens: z.record(z.string(), z.string()),
      errors: z.record(z.string(), z.enum(accessTokenErrors)),
    }),
  },
  conversations: {
    open: z.object({
      tools: z.array(pinnedTool).nullable(),
      turns: z.array(hiddenTurn),
      next: z.number().nullable(),
    }),
    pin: z.object({ tools: z.array(pinnedTool) }),
    keep: empty,
  },
  chats: chatOutputs,
  providerConfigurator: {
    getProviders: z.object({ providers: z.array(provider), unreadable: z.array(z.string()).exactOptional() }),
    reportKey: empty,
    watchProviders: empty,
  },
  admin: {
    users: { create: user, list: z.array(user), setStatus: user, delete: user, purge: purgeProgress },
    apiKeys: {
      create: z.object({ ...apiKey.shape, key: z.string() }),
      list: z.array(apiKey),
      expire: apiKey,
      delete: empty,
    },
    agents: {
      create: z.object({ ...agent.shape, key: z.string() }),
      list: z.array(agent),
      revoke: agent,
      start: z.object({ ...processOutputs.start.shape, instanceId: z.string() }),
      output: processOutputs.output,
      processes: processOutputs.list,
      signal: processOutputs.signal,
    },
    daemonKeys: {
      create: z.object({ ...daemonKey.shape, key: z.string() }),
      list: z.array(daemonKey),
      revoke: daemonKey,
    },
    providers: {
      upsert: providerSummary,
      list: z.array(providerSummary),
      setEnabled: providerSummary,
      remove: empty,
      test: providerTest,
      keys: { add: providerSummary, remove: providerSummary, order: providerSummary },
    },
    mcpServers: { upsert: mcpServer, list: z.array(mcpServer), remove: empty, test: mcpServerTest },
    externalAuthLinks: { set: externalAuthLink, list: z.array(externalAuthLink), remove: empty },
    interceptions: {
      list: z.object({ interceptions: z.array(interception), nextCursor: z.string().nullable() }),
      get: z.object({
        interception,
        thread: z.array(interception),
        tokenUsages: z.array(tokenUsage),
        promptUsages: z.array(promptUsage),
        toolUsages: z.array(toolUsage),
        modelThoughts: z.array(modelThought),
      }),
    },
    usage: z.object({ rows: z.array(usageRow), isCut: z.boolean() }),
    usageExport: z.object({ rows: z.array(usageRow), nextCursor: z.string().nullable() }),
    prices: {
      list: z.object({ own: z.array(ownPrice), unpriced: z.array(unpricedModel) }),
      set: ownPrice,
      remove: ownPrice,
      explain: priceExplanation,
      backfill: z.object({ priced: z.number(), unpriced: z.number(), nextCursor: z.string().nullable() }),
    },
    secrets: {
      rotate: z.object({
        rotated: z.number(),
        kept: z.number(),
        unreadable: z.number(),
        oldKey: z.enum(['removed', 'kept', 'configured', 'none']),
      }),
    },
    audit: { list: z.object({ entries: z.array(auditRecord), nextCursor: z.string().nullable() }) },
    watch: watchEvent,
  },
} satisfies SchemasOf<Procedures>

/** Compiles only while there are no differences; the error names the path of the first one. */
export const outputsDiffer: [Differences<typeof outputs, Procedures>] extends [never]
  ? false
  : Differences<typeof outputs, Procedures> = false
