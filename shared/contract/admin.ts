/**
 * The operators' procedures: users, API keys, daemon keys, providers, and reads of the records. Needs an identity with
 * the role `admin`.
 */
import { z } from 'zod'
import type { JsonObject } from '../values/text.js'
import { apiKeyId, name, shortId, slug, text, time, uuid } from './fields.js'
import { adminLimits, mcpLimits, recordLimits } from './limits.js'
import type { McpServerConfig } from './mcp-configurator.js'
import { type ProviderType, providerTypes } from './provider-configurator.js'
import type { RecordKind } from './record-kinds.js'
import { type ErrorType, errorTypes } from './recorder.js'
import { regexProblem } from './regex.js'

/** 1 to 64 characters of letters, digits and `._@-`; begins with a letter or digit. */
export const username = z
  .string()
  .max(adminLimits.maxUsernameLength)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._@-]*$/, 'must be letters, digits and ._@-, the first a letter or digit')

/** The states of a user who is not deleted. The keys of a suspended user are rejected. */
export const userStatuses = ['active', 'suspended'] as const

/** `active` or `suspended`. */
export type UserStatus = (typeof userStatuses)[number]

/**
 * A person or a program whose requests are recorded. Ids are UUIDs, times are moments in UTC; `deletedAt` is null
 * unless the user is deleted.
 */
export interface User {
  id: string
  username: string
  status: UserStatus
  /** owns the server's own work; keys of a system user are rejected */
  isSystem: boolean
  createdAt: Date
  deletedAt: Date | null
}

/** A user by id, by name, or by the short form of the id; `BAD_REQUEST` (ambiguous_id) if the short form is the name of another user. */
const userRef = z.union([uuid, username], "must be a user's id or name")

/**
 * A name in the form of a UUID is rejected: where a user can be given by id or name, the name could mean another user.
 */
export const usersCreateInput = z.object({
  username: username.refine(value => !uuid.safeParse(value).success, 'must not be a UUID'),
})

/** Suspends a user, or makes the user active again. */
export const usersSetStatusInput = z.object({ user: userRef, status: z.enum(userStatuses) })

/** Deletes a user. The user's records stay, and the name is free for a new user. */
export const usersDeleteInput = z.object({ user: userRef })

/** Erases a user and all records of the user, in slices: see {@link PurgeProgress}. */
export const usersPurgeInput = z.object({ user: userRef })

/** The progress of a purge; `done: false` says to call again. The counts are those of all calls of the purge. */
export interface PurgeProgress {
  userId: string
  done: boolean
  interceptions: number
  /** records of those interceptions */
  records: number
  apiKeys: number
  /** links to MCP servers */
  links: number
}

/**
 * An API key without its secret. `id` is the part of the key before the dash; `expiresAt` is null for a key that
 * never expires.
 */
export interface ApiKey {
  id: string
  userId: string
  /** null for a deleted user */
  username: string | null
  name: string | null
  createdAt: Date
  expiresAt: Date | null
  /** time of the newest authorized request with the key, to the minute; null if none was */
  lastUsedAt: Date | null
}

/** The response of `apiKeys.create`: the only time the whole key leaves the server. */
export interface CreatedApiKey extends ApiKey {
  key: string
}

/** `expiresAt` must lie in the future. */
export const apiKeysCreateInput = z.object({ user: userRef, name: name.optional(), expiresAt: time.optional() })

/** Lists the API keys of one user, or of all users. */
export const apiKeysListInput = z.object({ user: userRef.optional() })

/** Lets an API key expire now. */
export const apiKeysExpireInput = z.object({ id: apiKeyId })

/** Deletes an API key. */
export const apiKeysDeleteInput = z.object({ id: apiKeyId })

/** A key of a remote daemon. */
export interface DaemonKey {
  id: string
  name: string | null
  /** may ask the authorizer with the id of an API key, without the key's secret */
  delegate: boolean
  createdAt: Date
  expiresAt: Date | null
  revokedAt: Date | null
  /** time of the newest connection, to the minute */
  lastSeenAt: Date | null
  /** the daemon's description of itself at that time */
  buildVersion: string | null
}

/** The response of `daemonKeys.create`: the only time the whole key leaves the server. */
export interface CreatedDaemonKey extends DaemonKey {
  key: string
}

/** `expiresAt` must lie in the future. */
export const daemonKeysCreateInput = z.object({
  name: name.optional(),
  delegate: z.boolean().default(false),
  expiresAt: time.optional(),
})

/** Revokes a daemon key, and closes the connections of its daemons. */
export const daemonKeysRevokeInput = z.object({ id: apiKeyId })

/** An `@` before the path ends credentials; URLs take any number of slashes, of both kinds, before a host. */
export const httpUrl = text(recordLimits.maxUrlLength)
  .pipe(z.url({ protocol: /^https?$/, error: 'must begin with http:// or https://' }))
  .refine(url => !/[?#]|^https?:[/\\]*[^/\\]*@/i.test(url), 'must have no credentials, query or fragment')

/** A key travels in an HTTP header, so a key is visible ASCII. */
export const providerKey = z
  .string()
  .max(adminLimits.maxProviderKeyLength)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces, and not empty')

/** Adds a provider, or changes the provider of this name: absent fields stay unchanged. `keys` replaces all keys. */
export const providersUpsertInput = z.object({
  name: slug,
  /** default of a new provider: `anthropic` */
  type: z.enum(providerTypes).optional(),
  /**
   * default of a new provider, and of a provider that changes its type: the type's own, for instance
   * `https://api.anthropic.com`
   */
  baseUrl: httpUrl.optional(),
  /** default of a new provider: none */
  keys: z.array(providerKey).max(adminLimits.maxProviderKeys).optional(),
  /** default of a new provider: true */
  enabled: z.boolean().optional(),
})

/** Enables or disables a provider. */
export const providersSetEnabledInput = z.object({ name: slug, enabled: z.boolean() })

/** Removes a provider and its keys. */
export const providersRemoveInput = z.object({ name: slug })
/** Asks a provider for its models, with the stored key. */
export const providersTestInput = z.object({ name: slug })

/** What looks wrong with a provider. A provider with warnings may work all the same. */
export const providerWarnings = [
  /** requests are sent without a key, unless the client brings its own */
  'no_key',
  /** requests go to `/chat/completions` where the API has `/v1/chat/completions` */
  'base_url_lacks_v1',
  /** requests go to `/v1/v1/…` */
  'base_url_doubles_v1',
] as const
/** One of {@link providerWarnings}. */
export type ProviderWarning = (typeof providerWarnings)[number]

/** The newest failed interception of a provider, by the start of the request. */
export interface ProviderFailure {
  interceptionId: string
  /** when the request ended */
  at: Date
  errorType: ErrorType
}

/** How a test of a provider can fail. */
export const providerTestFailures = [
  /** the host name has no address */
  'dns',
  /** nothing accepts connections there */
  'refused',
  /** any other failure before a connection */
  'unreachable',
  /** a certificate that is not accepted, or a server that does not speak TLS */
  'tls',
  /** no whole response in time */
  'timeout',
  /** a connection that ended without a whole HTTP response */
  'broken',
  /** 401 or 403 */
  'unauthorized',
  /** 404 */
  'not_found',
  /** 3xx; redirects are not followed */
  'redirect',
  /** any other status than 200 */
  'status',
  /** a response above the size limit */
  'too_large',
  'not_json',
  /** JSON without a list of models */
  'no_models',
  /** no encryption key of the server opens the provider's key */
  'key_unreadable',
] as const
/** One of {@link providerTestFailures}. */
export type ProviderTestFailure = (typeof providerTestFailures)[number]

/** The result of `providers.test`: what the server saw when it asked the provider for its models. */
export interface ProviderTest {
  name: string
  ok: boolean
  /** the URL that was asked */
  url: string
  /** the hint of the key that was sent; null if the provider has none */
  key: string | null
  /** null if there was no response */
  status: number | null
  /** the number of models; null if the test failed */
  models: number | null
  durationMs: number
  failure: ProviderTestFailure | null
  /** the failure in one sentence, without anything that the provider said; null if `ok` */
  message: string | null
}

/** A provider as an operator sees it. */
export interface ProviderSummary {
  name: string
  type: ProviderType
  enabled: boolean
  baseUrl: string
  /** each key's hint, for instance `sk-a…wxyz`; never a key */
  keys: string[]
  warnings: ProviderWarning[]
  /** null if no request to it has failed, as far as records are kept */
  lastFailure: ProviderFailure | null
  createdAt: Date
  updatedAt: Date
}

/** Newest first. `cursor` is the `nextCursor` of the page before. */
export const interceptionsListInput = z.object({
  limit: z.number().int().min(1).max(adminLimits.maxPageSize).default(adminLimits.defaultPageSize),
  cursor: z.string().max(256).optional(),
  user: userRef.optional(),
  provider: name.optional(),
  model: name.optional(),
  client: name.optional(),
  clientSessionId: name.optional(),
  errorType: z.enum(errorTypes).optional(),
  from: time.optional(),
  to: time.optional(),
})

/** Reads one interception with all its records: by its id, or by the short form of the id. */
export const interceptionsGetInput = z.object({
  id: z.union([uuid, shortId], "must be an interception's id, or its last 12 digits"),
})

/** One recorded AI request. Fields as in `recordInterception` and `recordInterceptionEnded`; unset fields are null. */
export interface Interception {
  id: string
  initiatorId: string
  /** the initiator's name; null for an unknown user */
  username: string | null
  apiKeyId: string
  provider: string
  providerName: string
  model: string
  startedAt: Date
  client: string | null
  userAgent: string | null
  clientSessionId: string | null
  correlatingToolCallId: string | null
  credentialKind: 'centralized' | 'byok'
  credentialHint: string | null
  metadata: JsonObject | null
  endedAt: Date | null
  errorType: ErrorType | null
  errorMessage: string | null
  /** the interception whose tool call this interception continues */
  parentId: string | null
  /** the first interception of that chain */
  rootId: string | null
  /** the key of the remote daemon that carried the request; null for a daemon in the control plane's process */
  daemonKeyId: string | null
  /** the daemon process that carried the request: a UUID of its own; null for a process that sent none */
  daemonInstance: string | null
}

/** The fields that every record of an interception has. */
export interface ChildRecord {
  id: string
  interceptionId: string
  metadata: JsonObject | null
  createdAt: Date
}

/**
 * The tokens of one response of a provider, by the way in which they are billed: `inputTokens` excludes cache reads
 * and cache writes.
 */
export interface TokenUsage extends ChildRecord {
  msgId: string
  /** the billed model; null where the interception's model was billed */
  model: string | null
  inputTokens: number
  outputTokens: number
  cacheReadInputTokens: number
  cacheWriteInputTokens: number
}

/** The prompt of a user, as sent to the model. */
export interface PromptUsage extends ChildRecord {
  msgId: string
  prompt: string
}

/**
 * A tool that the model selected. `injected`: an MCP server of the control plane offered the tool; `input` is JSON
 * text.
 */
export interface ToolUsage extends ChildRecord {
  msgId: string
  toolCallId: string | null
  itemId: string | null
  serverUrl: string | null
  tool: string
  input: string
  injected: boolean
  invocationError: string | null
}

/** A part of the reasoning that the model showed. */
export interface ModelThought extends ChildRecord {
  content: string
}

/** A page of interceptions, newest first. */
export interface InterceptionsPage {
  interceptions: Interception[]
  /** null on the last page */
  nextCursor: string | null
}

/** An interception with all its records, each list in the order of creation. */
export interface InterceptionDetail {
  interception: Interception
  /**
   * the root of the chain and its continuations, this interception included, oldest first; at most
   * `adminLimits.maxThreadLength`
   */
  thread: Interception[]
  tokenUsages: TokenUsage[]
  promptUsages: PromptUsage[]
  toolUsages: ToolUsage[]
  modelThoughts: ModelThought[]
}

/** `lastEventId`: the id of the last event that the caller has seen. Absent: the stream begins now. */
export const watchInput = z.object({ lastEventId: z.string().max(64).optional() }).optional()

/** The end of an interception. */
export type InterceptionEnd = Pick<
  Interception & { endedAt: Date },
  'id' | 'endedAt' | 'errorType' | 'errorMessage' | 'credentialHint'
>

/**
 * Kind → the fields that `admin.watch` shows of a record. An interception is shown as stored at the moment of the read,
 * perhaps with an end.
 */
export interface WatchedRecords extends Record<RecordKind, { id: string }> {
  interception: Interception
  interceptionEnded: InterceptionEnd
  tokenUsage: TokenUsage
  promptUsage: PromptUsage
  toolUsage: ToolUsage
  modelThought: ModelThought
}

/**
 * A stored record, the record's kind, and the name of the user whose request the record belongs to; null for an unknown
 * user.
 */
export type WatchedRecord<K extends RecordKind = RecordKind> = {
  [P in K]: { kind: P; record: WatchedRecords[P]; username: string | null }
}[K]

/**
 * The events of `admin.watch`. `watching` comes first in a stream that begins now: an event id to resume from before
 * the first record.
 */
export type WatchEvent = { kind: 'watching' } | WatchedRecord

/** The groups by which usage is totalled. `day` is the day of the start, in UTC. */
export const usageGroups = ['user', 'provider', 'model', 'day'] as const

/** One of {@link usageGroups}. */
export type UsageGroup = (typeof usageGroups)[number]

/** Totals by any of the groups; `from` ≤ started < `to`. `provider` matches the type or the configured name. */
export const usageInput = z.object({
  by: z.array(z.enum(usageGroups)).max(usageGroups.length).default([]),
  from: time.optional(),
  to: time.optional(),
  user: userRef.optional(),
  provider: name.optional(),
  model: name.optional(),
  limit: z.number().int().min(1).max(adminLimits.maxUsageRows).default(adminLimits.maxUsageRows),
})

/** The totals of one combination of groups. Groups outside `by` are null; so is the name of an unknown user. */
export interface UsageRow {
  userId: string | null
  username: string | null
  /** the configured name */
  provider: string | null
  model: string | null
  /** of the start, in UTC: `2026-05-01` */
  day: string | null
  interceptions: number
  inputTokens: number
  outputTokens: number
  cacheReadInputTokens: number
  cacheWriteInputTokens: number
}

/** Totals by group, most tokens first within a day. */
export interface UsageReport {
  rows: UsageRow[]
  /** more rows than `limit` exist */
  isCut: boolean
}

/** The outcome of a rotation of secrets. */
export interface RotationResult {
  /** sealed anew under the first key */
  rotated: number
  /** were under the first key already */
  kept: number
  /** no key of the server opens these secrets, which stay unchanged */
  unreadable: number
  /**
   * - `removed`: the server's key is its own; the server made a new key and forgot the old one
   * - `kept`: the same, but the old key stays because of unreadable secrets
   * - `configured`: the keys come with the configuration; the old key may be removed there once every server has both,
   *   and no secret is unreadable
   * - `none`: the configuration has one key, so no other key to change to exists
   */
  oldKey: 'removed' | 'kept' | 'configured' | 'none'
}

/** The procedures that add an entry to the audit log, by their paths without `admin.`. */
export const auditActions = [
  'users.create',
  'users.setStatus',
  'users.delete',
  'users.purge',
  'apiKeys.create',
  'apiKeys.expire',
  'apiKeys.delete',
  'daemonKeys.create',
  'daemonKeys.revoke',
  'providers.upsert',
  'providers.setEnabled',
  'providers.remove',
  'providers.test',
  'mcpServers.upsert',
  'mcpServers.remove',
  'externalAuthLinks.set',
  'externalAuthLinks.remove',
  'secrets.rotate',
] as const
/** One of {@link auditActions}. */
export type AuditAction = (typeof auditActions)[number]

/** One write of an operator. */
export interface AuditRecord {
  id: string
  at: Date
  /** the name of the acting identity */
  actor: string
  /** one of {@link auditActions}, or an action that only a newer server knows */
  action: string
  /** the id or name of the row */
  target: string | null
  /** the name of the user that the entry is about; null for an entry about no user or an unknown user */
  username: string | null
  /** further values of the call; never a secret */
  details: JsonObject | null
}

/** Newest first. `cursor` is the `nextCursor` of the page before. */
export const auditListInput = z.object({
  limit: z.number().int().min(1).max(adminLimits.maxPageSize).default(adminLimits.defaultPageSize),
  cursor: z.string().max(256).optional(),
  actor: name.optional(),
  action: z.enum(auditActions).optional(),
  target: name.optional(),
})

/** A page of the audit log, newest first. */
export interface AuditPage {
  entries: AuditRecord[]
  /** null on the last page */
  nextCursor: string | null
}

const toolRegex = z
  .string()
  .max(mcpLimits.maxRegexLength)
  .superRefine((pattern, context) => {
    const problem = regexProblem(pattern)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  })

/** Printable ASCII, because the token travels in a header. */
const token = z
  .string()
  .min(1)
  .max(mcpLimits.maxTokenLength)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')

/**
 * Adds an MCP server, or changes the server of this id: absent fields stay, null removes a field. The last four fields
 * are for users' linked tokens: `tokenUrl` with `clientId` refreshes a token (RFC 6749, section 6), `validateUrl` says
 * whether a token is still valid (2xx, else 401 or 403).
 */
export const mcpServersUpsertInput = z.object({
  id: slug,
  url: httpUrl,
  toolAllowRegex: toolRegex.nullish(),
  toolDenyRegex: toolRegex.nullish(),
  tokenUrl: httpUrl.nullish(),
  clientId: text(recordLimits.maxNameLength).min(1).nullish(),
  clientSecret: token.nullish(),
  validateUrl: httpUrl.nullish(),
})

/** Removes an MCP server and all users' links to it. */
export const mcpServersRemoveInput = z.object({ id: slug })

/** An MCP server as an operator sees it. */
export interface McpServer extends McpServerConfig {
  tokenUrl: string | null
  clientId: string | null
  hasClientSecret: boolean
  validateUrl: string | null
  createdAt: Date
  updatedAt: Date
}

/** A user's token for an MCP server; replaces an earlier token. */
export const externalAuthLinksSetInput = z.object({
  user: userRef,
  serverId: slug,
  accessToken: token,
  refreshToken: token.optional(),
  expiresAt: time.optional(),
})

/** Lists the links of one user, or of all users. */
export const externalAuthLinksListInput = z.object({ user: userRef.optional() })

/** Removes a user's link to an MCP server. */
export const externalAuthLinksRemoveInput = z.object({ user: userRef, serverId: slug })

/** A link as an operator sees it, without its tokens. */
export interface ExternalAuthLink {
  userId: string
  /** null for an unknown user */
  username: string | null
  serverId: string
  expiresAt: Date | null
  /** whether the link has a refresh token */
  hasRefreshToken: boolean
  createdAt: Date
  updatedAt: Date
}
