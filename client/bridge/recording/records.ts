/**
 * Makes records of the facts of requests and responses: cleaned, cut to the control plane's limits, without
 * secrets.
 */
import { v7 as uuidv7 } from 'uuid'
import type { Authorization } from '../../../shared/contract/authorizer.js'
import { originalBytesKey } from '../../../shared/contract/fields.js'
import { recordLimits } from '../../../shared/contract/limits.js'
import { type BatchRecord, outcomeKey, type RecordInput } from '../../../shared/contract/recorder.js'
import { isInternalRequestKind, requestKindKey } from '../../../shared/contract/request-kinds.js'
import type { Logger } from '../../../shared/values/log.js'
import { maskSecrets } from '../../../shared/values/mask-secrets.js'
import { cleanText, cutToBytes, cutToLength, isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import type { Failure } from '../providers/error-type.js'
import type { KeptText, RequestFacts, ResponseFacts, ToolCall } from '../providers/provider-api.js'
import { textsOfSecrets } from '../wire/secret-mask.js'
import { billedParts, countsOf, detailsOf, isEmpty, outcomeOf } from './token-facts.js'

/** The facts of a request before the provider is called. */
export interface InterceptionStart {
  owner: Authorization
  /** type `mcp` with the name of an MCP server, for a call of a tool */
  provider: { type: string; name: string }
  /** a call of a tool through the endpoint for MCP clients, in place of a request to a model */
  kind?: 'mcp'
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
  /** the same time on the clock of `performance` */
  arrivedAt: number
}

/** Options of the records. */
export interface RecordOptions {
  /** false: content is left out, only the size is kept */
  recordContent: boolean
  logger: Logger
}

/** Makes the record of an interception, with a new id. */
function interceptionOf(start: InterceptionStart): RecordInput<'interception'> {
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
    ...(start.kind && { interceptionKind: start.kind }),
    ...(request.metadata === undefined ? {} : { metadata: request.metadata }),
  }
}

/**
 * The records of one interception. A record that is written before the response has ended, in case the process dies,
 * and again at the end, is one record: its id is made once.
 */
export class InterceptionRecords {
  readonly interception: RecordInput<'interception'>
  readonly #options: RecordOptions
  readonly #start: InterceptionStart
  /** without the id of the response, which comes later */
  readonly #prompt: Omit<BatchRecord<'promptUsage'>, 'msgId' | 'createdAt'> | undefined
  readonly #tokenIds: string[] = []
  #usedHint: string | undefined
  /** in each of their writings: errors quote requests in JSON and in URLs */
  #secrets: readonly string[]

  constructor(options: RecordOptions, start: InterceptionStart) {
    this.#options = options
    this.#start = start
    this.#secrets = textsOfSecrets(start.secrets)
    this.interception = interceptionOf(start)
    this.#prompt = this.#makePrompt()
  }

  /** Notes the hint of the key with which the request is sent; the end has it if the beginning has another. */
  usesKey(hint: string): void {
    this.#usedHint = nameOf(hint)
  }

  /** Notes one more secret that no record may hold, before it is sent. */
  hides(secret: string): void {
    this.#secrets = textsOfSecrets([...this.#secrets, secret])
  }

  /** Returns the records of the request, and the end, for a process that dies before the response. */
  beforeResponse(failure: Failure): BatchRecord[] {
    return [...this.#promptOf(undefined), this.end(failure)]
  }

  /** Returns the tokens so far, and the end, for a process that dies inside the responses. */
  insideResponse(soFar: readonly ResponseFacts[], failure: Failure): BatchRecord[] {
    return [...this.#tokensOf(soFar), this.end(failure)]
  }

  /**
   * Returns the records of the request and its responses and, as the last one, the end.
   * @param responses one for each call to the provider, in order
   */
  whole(responses: readonly ResponseFacts[], failure: Failure | undefined): BatchRecord[] {
    return [
      ...this.#promptOf(responses[0]?.msgId),
      ...this.#tokensOf(responses),
      ...responses.flatMap(response => this.#thoughtsOf(response)),
      ...responses.flatMap(response => this.#toolsOf(response)),
      this.end(failure),
    ]
  }

  /** Makes the end of the interception, at the current time. Secrets in the failure's message are masked. */
  end(failure: Failure | undefined): BatchRecord {
    const hint = this.#usedHint === this.interception.credentialHint ? undefined : this.#usedHint
    const plain = { kind: 'interceptionEnded', id: this.interception.id, endedAt: this.#now() } as const
    const end = hint === undefined ? plain : { credentialHint: hint, ...plain }
    if (!failure) return end
    if (failure.isQuoted && !this.#options.recordContent) return { ...end, errorType: failure.type }
    const errorMessage = cutToBytes(this.#masked(failure.message), recordLimits.maxErrorMessageBytes)
    return { errorType: failure.type, errorMessage, ...end }
  }

  /** Returns an error without secrets. It is cut only afterwards: half a secret could not be recognised. */
  #masked(error: string): string {
    return maskSecrets(cleanText(error), this.#secrets)
  }

  /** Returns the current time by a clock that nobody sets: no record is older than the interception. */
  #now(): Date {
    const { startedAt, arrivedAt } = this.#start
    return new Date(startedAt.getTime() + Math.max(0, Math.round(performance.now() - arrivedAt)))
  }

  #common() {
    return { id: uuidv7(), interceptionId: this.interception.id }
  }

  #msgId(response: string | undefined): string {
    return nameOf(response) ?? this.interception.id
  }

  #makePrompt() {
    const { request } = this.#start
    if (request.prompt === undefined) return undefined
    const text: KeptText = { text: request.prompt, bytes: request.promptBytes ?? Buffer.byteLength(request.prompt) }
    const { metadata, ...prompt } = this.#content('prompt', text)
    const all = { ...metadata, ...internalKindOf(request) }
    const noted = Object.keys(all).length === 0 ? {} : { metadata: all }
    return { kind: 'promptUsage' as const, ...this.#common(), ...prompt, ...noted }
  }

  #promptOf(msgId: string | undefined): BatchRecord[] {
    return this.#prompt ? [{ msgId: this.#msgId(msgId), createdAt: this.#now(), ...this.#prompt }] : []
  }

  #tokensOf(responses: readonly ResponseFacts[]): BatchRecord[] {
    const parts = responses.flatMap(response =>
      billedParts(response, this.#start.requestBytes).map((part, index) => ({ response, part, isFirst: index === 0 })),
    )
    const createdAt = this.#now()
    return parts.map(({ response, part, isFirst }, index) => {
      this.#tokenIds[index] ??= uuidv7()
      return this.#tokenUsage(this.#tokenIds[index], response, part, isFirst, createdAt)
    })
  }

  /** @param isFirst whether the record is the first of its response, in which the facts stand */
  #tokenUsage(
    id: string,
    response: ResponseFacts,
    part: ReturnType<typeof billedParts>[number],
    isFirst: boolean,
    createdAt: Date,
  ): BatchRecord<'tokenUsage'> {
    const { logger, recordContent } = this.#options
    const facts = isFirst
      ? { [outcomeKey]: outcomeOf(response.outcome ?? {}), ...(part.estimated && { estimated: true }) }
      : {}
    const { id: interceptionId } = this.interception
    const metadata = detailsOf(logger, interceptionId, part.details, recordContent, facts)
    const model = nameOf(part.model)
    return {
      kind: 'tokenUsage',
      id,
      interceptionId,
      msgId: this.#msgId(response.msgId),
      ...(model !== undefined && { model }),
      ...countsOf(part),
      ...metadata,
      createdAt,
    }
  }

  #thoughtsOf({ thoughts }: ResponseFacts): BatchRecord[] {
    return thoughts.map(thought => ({
      kind: 'modelThought',
      ...this.#common(),
      ...this.#content('content', thought.content),
      createdAt: thought.at,
    }))
  }

  #toolsOf({ tools, msgId }: ResponseFacts): BatchRecord[] {
    return tools.map(call => {
      const optional = withoutUndefined({
        toolCallId: nameOf(call.callId),
        itemId: nameOf(call.itemId),
        serverUrl: call.serverUrl && cutToLength(cleanText(call.serverUrl), recordLimits.maxUrlLength),
      })
      return {
        kind: 'toolUsage',
        ...this.#common(),
        msgId: this.#msgId(msgId),
        ...optional,
        tool: nameOf(call.tool) ?? 'unknown',
        ...callContent(call, this.#options.recordContent, error => this.#masked(error)),
        injected: call.injected ?? false,
        createdAt: call.at,
      }
    })
  }

  #content<F extends string>(field: F, text: KeptText): Content<F> {
    return this.#options.recordContent ? keptContent(field, text) : omittedContent(field, text)
  }
}

/** Returns the mark of a prompt that is no new word of the user: the client made the request for itself. */
function internalKindOf({ metadata }: RequestFacts): JsonObject {
  const kind = metadata?.[requestKindKey]
  return kind !== undefined && isInternalRequestKind(kind) ? { [requestKindKey]: kind } : {}
}

/** Returns the input of a call, the names that say more of the call, and the error of one that the provider ran. */
function callContent(
  { input, invocationError, metadata }: ToolCall,
  recordContent: boolean,
  masked: (error: string) => string,
) {
  const content = recordContent ? keptContent : omittedContent
  const fields = content('input', input)
  const error =
    invocationError === undefined
      ? undefined
      : content('invocationError', { text: masked(invocationError), bytes: Buffer.byteLength(invocationError) })
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
