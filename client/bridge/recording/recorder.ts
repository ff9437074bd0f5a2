/** Records of one interception, on their way to the control plane. */
import { v7 as uuidv7 } from 'uuid'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import { originalBytesKey } from '../../../shared/contract/fields.js'
import { recordLimits } from '../../../shared/contract/limits.js'
import type { BatchRecord, RecordInput } from '../../../shared/contract/recorder.js'
import { errorCodeOf, isRetryable } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import { maskSecrets } from '../../../shared/values/mask-secrets.js'
import {
  cleanJsonObject,
  cleanText,
  cutToBytes,
  cutToLength,
  isPlainObject,
  type JsonObject,
  JsonRefused,
  setOwn,
} from '../../../shared/values/text.js'
import { type ControlPlane, mayHaveRun } from '../control-plane/control-plane.js'
import type { Outbox } from '../control-plane/outbox.js'
import type { BridgeMetrics, InterceptionEnd } from '../metrics/metrics.js'
import type { Failure } from '../providers/error-type.js'
import type { AnswerFacts, KeptText, RequestFacts, TokenCounts } from '../providers/provider-api.js'
import { isClosedForGood, notAsked, Refusal, retryAfterSeconds } from '../wire/refusal.js'

export interface RecorderParts {
  client: Pick<ControlPlane, 'recorder'>
  outbox: Outbox
  /** false: content is left out before it reaches the outbox */
  recordContent: boolean
  logger: Logger
  metrics: BridgeMetrics
}

/** What is known of a request before the provider is called. */
export interface InterceptionStart {
  owner: Authorization
  provider: { type: string; name: string }
  request: RequestFacts
  credentialKind: 'centralized' | 'byok'
  credentialHint: string | undefined
  /** what an error may repeat and must not be recorded: the credentials that the request came with and those that it is sent on with */
  secrets: readonly string[]
  client: string | undefined
  userAgent: string | undefined
  startedAt: Date
}

/** An interception that was recorded and now lacks its end. */
export interface Recording {
  readonly id: string
  /**
   * Puts what the answer held and the end into the outbox; resolves when they are there, never rejects. Later calls change nothing and
   * get the first one's promise.
   */
  end(answer: AnswerFacts, failure: Failure | undefined): Promise<void>
}

export interface Recorder {
  /**
   * Records that an interception begins; when this resolves the control plane has it.
   * @param signal gives up waiting for the control plane; what it may have recorded then is ended
   * @throws Refusal 503 if the outbox is full or the interception could not be recorded; the provider must not be called then
   */
  begin(start: InterceptionStart, signal: AbortSignal): Promise<Recording>
}

export function createRecorder(parts: RecorderParts): Recorder {
  return { begin: (start, signal) => begin(parts, start, signal) }
}

async function begin(parts: RecorderParts, start: InterceptionStart, signal: AbortSignal): Promise<Recording> {
  signal.throwIfAborted()
  const { client, outbox, logger } = parts
  if (!outbox.admit()) {
    logger.warn({ waiting: outbox.size }, 'a request was refused: too many records wait for the control plane')
    throw new Refusal(503, 'too many records wait for the control plane; try again later', { retryAfterSeconds })
  }
  const interception = interceptionOf(start)
  try {
    await client.recorder.recordInterception.mutate(interception, { signal })
  } catch (error) {
    logger.error(
      { err: error, code: errorCodeOf(error), interceptionId: interception.id },
      'an interception could not be recorded',
    )
    // The control plane may have it all the same, so it gets an end; sending the beginning again is harmless.
    if (signal.aborted || mayHaveRun(error)) await endUnserved(parts, start, interception, signal)
    signal.throwIfAborted()
    if (isClosedForGood(error)) throw notAsked(error)
    const retry = isRetryable(error) ? { retryAfterSeconds } : {}
    throw new Refusal(503, 'the request could not be recorded, so the provider was not called', {
      ...retry,
      cause: error,
    })
  }
  return createRecording(parts, start, interception)
}

function createRecording(
  parts: RecorderParts,
  start: InterceptionStart,
  { id, model }: RecordInput<'interception'>,
): Recording {
  const startedAt = performance.now()
  const countEnd = parts.metrics.interceptionStarted()
  let ended: Promise<void> | undefined
  return {
    id,
    end(answer, failure) {
      if (!ended) {
        ended = put(parts, id, recordsOrEnd(parts, id, start, answer, failure))
        countEnd({ model, seconds: (performance.now() - startedAt) / 1000, ...countable(start, answer, failure) })
      }
      return ended
    },
  }
}

function countable(
  { provider, client }: InterceptionStart,
  { usage, tools }: AnswerFacts,
  failure: Failure | undefined,
): Omit<InterceptionEnd, 'model' | 'seconds'> {
  const counts = usage && countsOf(usage)
  return {
    provider: provider.name,
    client,
    status: failure?.type ?? 'completed',
    tokens: counts && {
      input: counts.inputTokens,
      output: counts.outputTokens,
      cacheRead: counts.cacheReadInputTokens,
      cacheWrite: counts.cacheWriteInputTokens,
    },
    toolCalls: tools.length,
  }
}

async function endUnserved(
  parts: RecorderParts,
  start: InterceptionStart,
  interception: RecordInput<'interception'>,
  signal: AbortSignal,
): Promise<void> {
  const reason: unknown = signal.aborted ? signal.reason : undefined
  const message =
    reason instanceof Error ? reason.message : 'the request could not be recorded, so the provider was not called'
  const rest = recordsOf(parts, interception.id, start, { tools: [], thoughts: [] }, { type: 'unknown', message })
  await put(parts, interception.id, [{ kind: 'interception', ...interception }, ...rest])
}

async function put({ outbox, logger }: RecorderParts, interceptionId: string, records: BatchRecord[]): Promise<void> {
  try {
    await outbox.put(records)
  } catch (error) {
    logger.error(
      { err: error, interceptionId, records: records.length },
      'records were lost: the outbox did not take them',
    )
  }
}

function interceptionOf(start: InterceptionStart): RecordInput<'interception'> {
  const { owner, provider, request } = start
  const optional = {
    client: nameOf(start.client),
    userAgent: start.userAgent && cutToLength(cleanText(start.userAgent), recordLimits.maxUserAgentLength),
    clientSessionId: nameOf(request.sessionId),
    correlatingToolCallId: nameOf(request.correlatingToolCallId),
    credentialHint: nameOf(start.credentialHint),
  }
  return {
    id: uuidv7(),
    initiatorId: owner.ownerId,
    apiKeyId: owner.apiKeyId,
    provider: provider.type,
    providerName: provider.name,
    model: nameOf(request.model) ?? 'unknown',
    startedAt: start.startedAt,
    credentialKind: start.credentialKind,
    ...withoutUndefined(optional),
  }
}

/** A fault in what was read of an answer must cost neither the end nor the answer itself. */
function recordsOrEnd(
  parts: RecorderParts,
  id: string,
  start: InterceptionStart,
  answer: AnswerFacts,
  failure: Failure | undefined,
): BatchRecord[] {
  try {
    return recordsOf(parts, id, start, answer, failure)
  } catch (error) {
    parts.logger.error({ err: error, interceptionId: id }, 'an answer could not be recorded; its end is')
    return [endOf(id, failure, start.secrets, parts.recordContent)]
  }
}

function recordsOf(
  { recordContent, logger }: RecorderParts,
  interceptionId: string,
  { request, secrets }: InterceptionStart,
  answer: AnswerFacts,
  failure: Failure | undefined,
): BatchRecord[] {
  const createdAt = new Date()
  const msgId = nameOf(answer.msgId) ?? interceptionId
  const common = () => ({ id: uuidv7(), interceptionId })
  const content = recordContent ? keptContent : omittedContent
  const records: BatchRecord[] = []
  if (request.prompt !== undefined) {
    const text: KeptText = { text: request.prompt, bytes: Buffer.byteLength(request.prompt) }
    records.push({ kind: 'promptUsage', ...common(), msgId, ...content('prompt', text), createdAt })
  }
  if (answer.usage) {
    const details = detailsOf(logger, interceptionId, answer.usage.details, recordContent)
    records.push({ kind: 'tokenUsage', ...common(), msgId, ...countsOf(answer.usage), ...details, createdAt })
  }
  for (const thought of answer.thoughts) {
    records.push({ kind: 'modelThought', ...common(), ...content('content', thought.content), createdAt: thought.at })
  }
  for (const call of answer.tools) {
    const optional = withoutUndefined({ toolCallId: nameOf(call.callId), itemId: nameOf(call.itemId) })
    const tool = nameOf(call.tool) ?? 'unknown'
    records.push({
      kind: 'toolUsage',
      ...common(),
      msgId,
      ...optional,
      tool,
      ...content('input', call.input),
      injected: false,
      createdAt: call.at,
    })
  }
  records.push(endOf(interceptionId, failure, secrets, recordContent))
  return records
}

function endOf(
  id: string,
  failure: Failure | undefined,
  secrets: readonly string[],
  recordContent: boolean,
): BatchRecord {
  const end = { kind: 'interceptionEnded', id, endedAt: new Date() } as const
  if (!failure) return end
  if (failure.isQuoted && !recordContent) return { ...end, errorType: failure.type }
  // Masked before it is cut: of half a secret nothing could be recognised.
  const message = maskSecrets(cleanText(failure.message), secrets)
  const errorMessage = cutToBytes(message, recordLimits.maxErrorMessageBytes)
  return { ...end, errorType: failure.type, errorMessage }
}

function countsOf(usage: TokenCounts) {
  return {
    inputTokens: tokens(usage.input),
    outputTokens: tokens(usage.output),
    cacheReadInputTokens: tokens(usage.cacheRead),
    cacheWriteInputTokens: tokens(usage.cacheWrite),
  }
}

/** The nearest count that a record can hold. */
function tokens(count: number): number {
  return Math.min(recordLimits.maxTokens, Math.max(0, Math.trunc(count) || 0))
}

/** What the provider added to its usage. */
function detailsOf(
  logger: Logger,
  interceptionId: string,
  details: JsonObject,
  recordContent: boolean,
): { metadata?: JsonObject } {
  try {
    const clean = cleanJsonObject(details, recordLimits.maxMetadataBytes, recordLimits.maxMetadataDepth)
    const metadata = recordContent ? clean : numbersOf(clean)
    return Object.keys(metadata).length === 0 ? {} : { metadata }
  } catch (error) {
    if (!(error instanceof JsonRefused)) throw error
    logger.warn({ interceptionId, reason: error.message }, 'details of token usage cannot be recorded')
    return {}
  }
}

/** Without text, which may be anything. */
function numbersOf(details: JsonObject): JsonObject {
  const kept: JsonObject = {}
  for (const [name, value] of Object.entries(details)) {
    if (isPlainObject(value)) setOwn(kept, name, numbersOf(value))
    else if (typeof value === 'number') setOwn(kept, name, value)
  }
  return kept
}

/** A content field, cut as the control plane would cut it, so that no record is too large to be sent. */
function keptContent<F extends string>(field: F, kept: KeptText): Content<F> {
  const text = cutToBytes(cleanText(kept.text), recordLimits.maxContentBytes)
  const value = { [field]: text } as { [field in F]: string } // one computed key
  if (kept.bytes <= recordLimits.maxContentBytes) return value
  return { ...value, metadata: { [originalBytesKey]: { [field]: kept.bytes } } }
}

/** The same field, cut to nothing. */
function omittedContent<F extends string>(field: F, { bytes }: KeptText): Content<F> {
  const value = { [field]: '' } as { [field in F]: string } // one computed key
  return { ...value, metadata: { [originalBytesKey]: { [field]: bytes } } }
}

type Content<F extends string> = { [field in F]: string } & { metadata?: JsonObject }

function nameOf(text: string | undefined): string | undefined {
  return text ? cutToLength(cleanText(text), recordLimits.maxNameLength) : undefined
}

function withoutUndefined<T extends Record<string, string | undefined>>(fields: T): { [name in keyof T]?: string } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [name in keyof T]?: string } // a subset of the fields
}
