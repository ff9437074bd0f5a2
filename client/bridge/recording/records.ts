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
import { cleanText, cutToBytes, cutToLength, isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import type { Failure } from '../providers/error-type.js'
import type { KeptText, RequestFacts, ResponseFacts, ToolCall } from '../providers/provider-api.js'
import { billedParts, countsOf, detailsOf, isEmpty, outcomeKey, outcomeOf } from './token-facts.js'

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
