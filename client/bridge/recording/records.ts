/**
 * Makes records of the facts of requests and responses: cleaned, cut to the control plane's limits, without
 * secrets.
 */
import { v7 as uuidv7 } from 'uuid'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import { originalBytesKey } from '../../../shared/contract/fields.js'
import { recordLimits } from '../../../shared/contract/limits.js'
import type { BatchRecord, RecordInput } from '../../../shared/contract/recorder.js'
import { isInternalRequestKind, requestKindKey } from '../../../shared/contract/request-kinds.js'
import type { Logger } from '../../../shared/values/log.js'
import { maskSecrets } from '../../../shared/values/mask-secrets.js'
import {
  cleanJsonObject,
  cleanText,
  cutToBytes,
  cutToLength,
  isPlainObject,
  type JsonObject,
  JsonRejected,
  type JsonValue,
  setOwn,
} from '../../../shared/values/text.js'
import type { Failure } from '../providers/error-type.js'
import type {
  BilledPart,
  KeptText,
  Outcome,
  RequestFacts,
  ResponseFacts,
  TokenCounts,
  ToolCall,
} from '../providers/provider-api.js'

/** The facts of a request before the provider is called. */
export interface InterceptionStart {
  owner: Authorization
  provider: { type: string; name: string }
  request: RequestFacts
  credentialKind: 'centralized' | 'byok'
  credentialHint: string | undefined
  /**
   * credentials of the request and of the provider: an error may repeat them, no record may hold them
   */
  secrets: readonly string[]
  client: string | undefined
  userAgent: string | undefined
  /** size of the request's body */
  requestBytes: number
  startedAt: Date
}

/** Options of the records. */
export interface RecordOptions {
  /** false: content is left out, only the size is kept */
  recordContent: boolean
  logger: Logger
}

/** Makes the record of an interception, with a new id. */
export function interceptionOf(start: InterceptionStart): RecordInput<'interception'> {
  const { owner, provider, request, secrets } = start
  // A client may write its key into any header or field.
  const clean = (text: string | undefined) => text && maskSecrets(cleanText(text), secrets)
  const optional = {
    client: nameOf(start.client),
    userAgent: start.userAgent && cutToLength(clean(start.userAgent) ?? '', recordLimits.maxUserAgentLength),
    clientSessionId: nameOf(clean(request.sessionId)),
    correlatingToolCallId: nameOf(clean(request.correlatingToolCallId)),
    previousMsgId: nameOf(clean(request.previousMsgId)),
    conversationId: nameOf(clean(request.conversationId)),
    credentialHint: nameOf(start.credentialHint),
  }
  return {
    id: uuidv7(),
    initiatorId: owner.ownerId,
    apiKeyId: owner.apiKeyId,
    provider: provider.type,
    providerName: provider.name,
    model: nameOf(clean(request.model)) ?? 'unknown',
    startedAt: start.startedAt,
    credentialKind: start.credentialKind,
    ...withoutUndefined(optional),
    ...(request.metadata === undefined ? {} : { metadata: request.metadata }),
  }
}

/** Makes the records of a response and, as the last one, the end of the interception. */
export function recordsOf(
  { recordContent, logger }: RecordOptions,
  interceptionId: string,
  { request, secrets, requestBytes }: InterceptionStart,
  response: ResponseFacts,
  failure: Failure | undefined,
): BatchRecord[] {
  const createdAt = new Date()
  const msgId = nameOf(response.msgId) ?? interceptionId
  const common = () => ({ id: uuidv7(), interceptionId })
  const content = recordContent ? keptContent : omittedContent
  const records: BatchRecord[] = []
  if (request.prompt !== undefined) {
    const text: KeptText = { text: request.prompt, bytes: request.promptBytes ?? Buffer.byteLength(request.prompt) }
    const { metadata, ...prompt } = content('prompt', text)
    const all = { ...metadata, ...internalKindOf(request) }
    const noted = Object.keys(all).length === 0 ? {} : { metadata: all }
    records.push({ kind: 'promptUsage', ...common(), msgId, ...prompt, ...noted, createdAt })
  }
  const [main, ...beside] = billedParts(response, requestBytes)
  for (const part of [main, ...beside]) {
    if (!part) continue
    // The facts stand in the first record.
    const facts =
      part === main
        ? { [outcomeKey]: outcomeOf(response.outcome ?? {}), ...(part.estimated && { estimated: true }) }
        : {}
    const metadata = detailsOf(logger, interceptionId, part.details, recordContent, facts)
    const model = nameOf(part.model)
    records.push({
      kind: 'tokenUsage',
      ...common(),
      msgId,
      ...(model !== undefined && { model }),
      ...countsOf(part),
      ...metadata,
      createdAt,
    })
  }
  for (const thought of response.thoughts) {
    records.push({ kind: 'modelThought', ...common(), ...content('content', thought.content), createdAt: thought.at })
  }
  for (const call of response.tools) {
    const optional = withoutUndefined({
      toolCallId: nameOf(call.callId),
      itemId: nameOf(call.itemId),
      serverUrl: call.serverUrl && cutToLength(cleanText(call.serverUrl), recordLimits.maxUrlLength),
    })
    const tool = nameOf(call.tool) ?? 'unknown'
    records.push({
      kind: 'toolUsage',
      ...common(),
      msgId,
      ...optional,
      tool,
      ...callContent(call, recordContent),
      injected: false,
      createdAt: call.at,
    })
  }
  records.push(endOf(interceptionId, failure, secrets, recordContent))
  return records
}

/** Returns the mark of a prompt that is no new word of the user: the client made the request for itself. */
function internalKindOf({ metadata }: RequestFacts): JsonObject {
  const kind = metadata?.[requestKindKey]
  return kind !== undefined && isInternalRequestKind(kind) ? { [requestKindKey]: kind } : {}
}

/** Makes the end of an interception, at the current time. Secrets in the failure's message are masked. */
export function endOf(
  id: string,
  failure: Failure | undefined,
  secrets: readonly string[],
  recordContent: boolean,
): BatchRecord {
  const end = { kind: 'interceptionEnded', id, endedAt: new Date() } as const
  if (!failure) return end
  if (failure.isQuoted && !recordContent) return { ...end, errorType: failure.type }
  // Masking comes before cutting: half a secret could not be recognised.
  const message = maskSecrets(cleanText(failure.message), secrets)
  const errorMessage = cutToBytes(message, recordLimits.maxErrorMessageBytes)
  return { ...end, errorType: failure.type, errorMessage }
}

/** Returns counts that fit a record. */
export function countsOf(usage: TokenCounts) {
  return {
    inputTokens: tokens(usage.input),
    outputTokens: tokens(usage.output),
    cacheReadInputTokens: tokens(usage.cacheRead),
    cacheWriteInputTokens: tokens(usage.cacheWrite),
  }
}

/** Returns the nearest count that a record can hold. */
function tokens(count: number): number {
  return Math.min(recordLimits.maxTokens, Math.max(0, Math.trunc(count) || 0))
}

/** The key of a token usage's `metadata` under which the facts beside usage stand. */
export const outcomeKey = 'response'

/** A part of a response that gets a token usage of its own. */
type Part = TokenCounts & { model?: string | undefined; estimated?: true }

/** Returns the parts that are billed: the provider's counts, or an estimate where the provider sent none. */
function billedParts(response: ResponseFacts, requestBytes: number): Part[] {
  const usage: Part | undefined = response.usage
  const beside: readonly BilledPart[] = response.billedBeside ?? []
  const characters = response.relayedCharacters ?? 0
  if (!response.mayBeEstimated || response.usageIsFinal || characters === 0)
    return usage ? [usage, ...beside] : [...beside]
  const output = Math.ceil(characters / charactersPerToken)
  const input = Math.ceil(requestBytes / charactersPerToken)
  const hasInput = usage !== undefined && usage.input + usage.cacheRead + usage.cacheWrite > 0
  const estimate = usage
    ? { ...usage, input: hasInput ? usage.input : input, output: Math.max(usage.output, output) }
    : { input, output, cacheRead: 0, cacheWrite: 0, details: {} }
  return [{ ...estimate, estimated: true }, ...beside]
}

/** a token is about four characters of English text */
const charactersPerToken = 4

/** Returns the facts that are known. Names are kept only if they have the form of one: text may hold anything. */
function outcomeOf(outcome: Outcome): JsonObject {
  const known: JsonObject = {}
  for (const [name, value] of Object.entries(outcome)) {
    const kept = name === 'served_model' ? keptModel(value) : keptFact(value)
    if (kept !== undefined) known[name] = kept
  }
  return known
}

/** Names of models are longer than other facts, and some have blanks or brackets. */
function keptModel(value: unknown): string | undefined {
  return typeof value === 'string' && modelForm.test(value) ? value : undefined
}

const modelForm = /^[\x20-\x7e]{1,256}$/

function keptFact(value: Outcome[keyof Outcome]): JsonValue | undefined {
  if (typeof value === 'string') return factForm.test(value) ? value : undefined
  if (typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => factForm.test(name))
      .slice(0, maxCounts),
  )
}

/** the form of an enumeration or a model's name */
const factForm = /^[\w.:/@+-]{1,128}$/
/** a fact with more counts is cut */
const maxCounts = 32

/**
 * Returns the facts, and further fields of the provider's usage, as metadata; only the facts if a record cannot hold
 * the fields.
 */
function detailsOf(
  logger: Logger,
  interceptionId: string,
  details: JsonObject,
  recordContent: boolean,
  facts: JsonObject,
): { metadata?: JsonObject } {
  const known = Object.fromEntries(Object.entries(facts).filter(([, value]) => !isEmpty(value)))
  let metadata = known
  try {
    const clean = cleanJsonObject(
      { ...details, ...known },
      recordLimits.maxMetadataBytes,
      recordLimits.maxMetadataDepth,
    )
    metadata = recordContent ? clean : { ...countsIn(clean), ...known }
  } catch (error) {
    if (!(error instanceof JsonRejected)) throw error
    logger.warn({ interceptionId, reason: error.message }, 'details of token usage cannot be recorded')
  }
  return isEmpty(metadata) ? {} : { metadata }
}

function isEmpty(value: JsonValue): boolean {
  return isPlainObject(value) && Object.keys(value).length === 0
}

/** Returns the numbers of the details, also those in lists: text may hold anything. */
function countsIn(details: JsonObject): JsonObject {
  const kept: JsonObject = {}
  for (const [name, value] of Object.entries(details)) {
    // A name may be words too.
    const counts = factForm.test(name) ? countsOfValue(value) : undefined
    if (counts !== undefined) setOwn(kept, name, counts)
  }
  return kept
}

function countsOfValue(value: JsonValue): JsonValue | undefined {
  if (typeof value === 'number') return value
  if (Array.isArray(value)) {
    const counts = value.flatMap(item => countsOfValue(item) ?? [])
    return counts.length === 0 ? undefined : counts
  }
  return isPlainObject(value) ? countsIn(value) : undefined
}

/** Returns the input of a call, the names that say more of the call, and the error of one that the provider ran. */
function callContent({ input, invocationError, metadata }: ToolCall, recordContent: boolean) {
  const content = recordContent ? keptContent : omittedContent
  const fields = content('input', input)
  const error =
    invocationError === undefined
      ? undefined
      : content('invocationError', { text: invocationError, bytes: Buffer.byteLength(invocationError) })
  const names = Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, value]) => [
      name,
      typeof value === 'string' ? (nameOf(value) ?? '') : value,
    ]),
  )
  const sizes = { ...sizesOf(fields.metadata), ...sizesOf(error?.metadata) }
  const all = { ...names, ...(!isEmpty(sizes) && { [originalBytesKey]: sizes }) }
  return { ...fields, ...error, ...(!isEmpty(all) && { metadata: all }) }
}

function sizesOf(metadata: JsonObject | undefined): JsonObject {
  const sizes = metadata?.[originalBytesKey]
  return isPlainObject(sizes) ? (sizes as JsonObject) : {} // made by the functions below
}

/** Returns a content field, cut as the control plane would cut it, so that no record is too large to be sent. */
function keptContent<F extends string>(field: F, kept: KeptText): Content<F> {
  const text = cutToBytes(cleanText(kept.text), recordLimits.maxContentBytes)
  const value = { [field]: text } as { [field in F]: string } // one computed key
  if (kept.bytes <= recordLimits.maxContentBytes) return value
  return { ...value, metadata: { [originalBytesKey]: { [field]: kept.bytes } } }
}

/** Returns the same field without its content. */
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
