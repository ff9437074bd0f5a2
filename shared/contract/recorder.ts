/**
 * The recorder: reports of daemons about AI requests. Every procedure is idempotent; `recordKinds` lists the records.
 */
import { z } from 'zod'
import { cutToBytes } from '../values/text.js'
import { apiKeyId, content, cutContent, metadata, name, text, time, tokenCount, uuid } from './fields.js'
import { abandonment, recordLimits } from './limits.js'
import { type RecordKind, recordKinds } from './record-kinds.js'

/**
 * The failures of an interception; any other text from a daemon is stored as `unknown`.
 * - `billing` the provider's account cannot pay; `unreachable` no response came from the provider's host
 * - `client_closed` the client left before the response was whole; `refused` the model declined (Anthropic
 *   `stop_reason: refusal`)
 */
export const errorTypes = [
  'bad_request',
  'unauthorized',
  'billing',
  'rate_limited',
  'overloaded',
  'server_error',
  'timeout',
  'unreachable',
  'client_closed',
  'refused',
  'unknown',
] as const

/** One of {@link errorTypes}. */
export type ErrorType = (typeof errorTypes)[number]

/**
 * The authors of an end beside the daemon itself. An end by the `control_plane` is provisional: the daemon was gone,
 * and the daemon's own end replaces it, whenever that end comes.
 */
export const endedBy = ['control_plane'] as const

/** One of {@link endedBy}. */
export type EndedBy = (typeof endedBy)[number]

/** The kinds of interceptions: an AI request, or a call of a tool by an MCP client. */
export const interceptionKinds = ['model', 'mcp'] as const

/** One of {@link interceptionKinds}. */
export type InterceptionKind = (typeof interceptionKinds)[number]

/**
 * One AI request, recorded before the provider is called. The same `id` with the same content changes nothing.
 * - `initiatorId` the user; `apiKeyId` the key of the request
 * - `provider` the type (`anthropic`), `providerName` the configured name; blank becomes `provider`
 * - `correlatingToolCallId` the tool call whose result the request carries, which gives the lineage
 * - `previousMsgId` the response that the request continues, as its records name it; gives the lineage where no tool
 *   call does
 * - `conversationId` the provider's conversation; gives the lineage where neither does
 * - `credentialKind` the owner of the provider key: the gateway (`centralized`) or the client (`byok`)
 * - `interceptionKind` absent: `model`. Of a call of a tool (`mcp`) the `provider` is `mcp`, the `providerName` the MCP
 *   server and the `model` the tool
 * - `credentialHint` enough of that key to recognise the key, never the whole
 */
export const recordInterceptionInput = z.object({
  id: uuid,
  initiatorId: uuid,
  apiKeyId,
  provider: name,
  providerName: text(recordLimits.maxNameLength).optional(),
  model: name,
  startedAt: time,
  client: name.optional(),
  userAgent: text(recordLimits.maxUserAgentLength).optional(),
  clientSessionId: name.optional(),
  correlatingToolCallId: name.optional(),
  previousMsgId: name.optional(),
  conversationId: name.optional(),
  interceptionKind: z.enum(interceptionKinds).optional(),
  credentialKind: z.enum(['centralized', 'byok']).default('centralized'),
  credentialHint: name.optional(),
  metadata: metadata.optional(),
})

/** The key of an interception's `metadata` under which its `userAgent` is kept. */
export const userAgentKey = 'request_user_agent'

/** The key of a token usage's `metadata` under which the daemon puts the facts beside usage. */
export const outcomeKey = 'response'

/**
 * The end of an interception; the first end wins, a later end succeeds and changes nothing. An end by the control plane
 * ({@link endedBy}) does not count: the daemon's own end replaces it.
 * - `errorMessage` kept only with an `errorType`, cut to 1,024 bytes
 */
export const recordInterceptionEndedInput = z
  .object({
    id: uuid,
    endedAt: time,
    credentialHint: name.optional(),
    errorType: z.string().transform(toErrorType).optional(),
    errorMessage: content.optional(),
  })
  .transform(({ errorMessage, ...end }) =>
    end.errorType === undefined || errorMessage === undefined
      ? end
      : { ...end, errorMessage: cutToBytes(errorMessage, recordLimits.maxErrorMessageBytes) },
  )

function toErrorType(value: string): ErrorType {
  return errorTypes.find(known => known === value) ?? 'unknown'
}

const child = { id: uuid, interceptionId: uuid }

/**
 * The tokens of one provider response, or of a part that is billed by itself.
 * - `model` the billed model, where another than the interception's was billed
 * - `inputTokens` the tokens that are billed as plain input: cache reads and cache writes excluded, for every provider
 */
export const recordTokenUsageInput = z.object({
  ...child,
  msgId: name,
  model: name.optional(),
  inputTokens: tokenCount,
  outputTokens: tokenCount,
  cacheReadInputTokens: tokenCount,
  cacheWriteInputTokens: tokenCount,
  metadata: metadata.optional(),
  createdAt: time,
})

/**
 * The user's prompt. `msgId` is the provider's id of the response, or the interception's id for a response without an
 * id.
 */
export const recordPromptUsageInput = z
  .object({ ...child, msgId: name, prompt: content, metadata: metadata.optional(), createdAt: time })
  .transform(record => cutContent(record, recordKinds.promptUsage.contentFields))

/**
 * A tool call that the model selected. `input` is the provider's text, unparsed. `injected`: run by the bridge, not by
 * the client.
 */
export const recordToolUsageInput = z
  .object({
    ...child,
    msgId: name,
    toolCallId: name.optional(),
    itemId: name.optional(),
    serverUrl: text(recordLimits.maxUrlLength).optional(),
    tool: name,
    input: content,
    injected: z.boolean(),
    invocationError: content.optional(),
    metadata: metadata.optional(),
    createdAt: time,
  })
  .transform(record => cutContent(record, recordKinds.toolUsage.contentFields))

/** One block of the model's reasoning. */
export const recordModelThoughtInput = z
  .object({ ...child, content, metadata: metadata.optional(), createdAt: time })
  .transform(record => cutContent(record, recordKinds.modelThought.contentFields))

/** Kind of record → its schema. */
export const recordSchemas = {
  interception: recordInterceptionInput,
  interceptionEnded: recordInterceptionEndedInput,
  tokenUsage: recordTokenUsageInput,
  promptUsage: recordPromptUsageInput,
  toolUsage: recordToolUsageInput,
  modelThought: recordModelThoughtInput,
} as const satisfies Record<RecordKind, z.ZodType>

/** The input of a record, by kind. */
export type RecordInput<K extends RecordKind = RecordKind> = z.input<(typeof recordSchemas)[K]>
/** A record after the check: text cleaned, content cut, defaults set. */
export type CheckedRecord<K extends RecordKind = RecordKind> = z.output<(typeof recordSchemas)[K]>

/** A record in a batch: the input of its procedure and its `kind`. */
export type BatchRecord<K extends RecordKind = RecordKind> = { [P in K]: RecordInput<P> & { kind: P } }[K]

/** 1 to 500 records. Each is checked separately, so that a bad record does not stop the others. */
export const recordBatchInput = z.object({
  records: z
    .array(z.custom<BatchRecord>(() => true))
    .min(1)
    .max(recordLimits.maxBatchRecords),
})

/** The outcome of one record of a batch. */
export type RecordOutcome =
  | { ok: true }
  | { ok: false; code: 'BAD_REQUEST' | 'NOT_FOUND' | 'CONFLICT'; message: string }
/** One outcome per record, in order. */
export type RecordBatchOutput = { results: RecordOutcome[] }

/**
 * Ends the interceptions that earlier processes of a daemon have left open, in the caller's name: 1 to 100 instances,
 * of the same daemon key as the caller's. The caller, and daemons that are connected, keep their interceptions.
 */
export const endAbandonedInput = z.object({
  daemonInstances: z.array(uuid).min(1).max(abandonment.maxDaemonInstances),
})

/** The number of interceptions that the call has ended. */
export type EndAbandonedOutput = { ended: number }

/** The output of `recorder.ready`: whether the store has committed a write within the last second. */
export type ReadyOutput = { isWritable: boolean }

/** The output of every procedure for a single record. */
export type RecordedOutput = Record<string, never>
