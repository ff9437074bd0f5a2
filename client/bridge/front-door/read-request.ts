/** Reads a request: its body within bounds, and the facts in its content. */
import type { JsonObject } from '../../../shared/values/text.js'
import type { BridgedRoute, RequestFacts, ResponseReader } from '../providers/provider-api.js'
import { encodingsOf } from '../wire/content-encoding.js'
import { EventFilter } from '../wire/event-filter.js'
import type { BodyShare } from './body/body-memory.js'
import { HeldBody } from './body/held-body.js'
import { decodeContent, type RequestContent, readBody, readContent } from './body/request-body.js'
import { conversationOf } from './conversation.js'
import type { Exchange } from './exchange.js'

/** Reads the whole body, see {@link readBody}. */
export function readWithin(exchange: Exchange, share: BodyShare): Promise<Buffer> {
  const bounds = { maxBytes: maxBodyBytes(exchange), timeoutMs: exchange.parts.limits.bodyTimeoutMs, share }
  return readBody(exchange.request, bounds, exchange.signal)
}

function maxBodyBytes({ parts, target }: Exchange): number {
  return target.settings.maxBodyBytes ?? parts.limits.maxBodyBytes
}

/** A request that was read. */
export interface ReadRequest extends Omit<Interpreted, 'adapted'> {
  body: HeldBody
  /** the client's time to send it */
  readingMs: number
}

/** The meaning of a request's content. */
interface Interpreted {
  facts: RequestFacts
  /** reads the response */
  reader: ResponseReader
  /** leaves events out that the client did not ask for */
  filter: EventFilter | undefined
  /** digest that is the same for all requests of the conversation; undefined if nothing depends on it */
  conversation: string | undefined
  /** the content, if it is kept */
  content: KeptContent | undefined
  /** the body that the provider gets in place of the client's */
  adapted: readonly Buffer[] | undefined
}

/** The content of a request whose body is rewritten. */
export interface KeptContent {
  json: JsonObject
  /** the bytes of `json` */
  text: Buffer
  /** whether a stream that does not ask for its usage may be made to */
  mayAskForUsage: boolean
}

/**
 * Reads a request. The parsed body is garbage when the promise resolves, unless it is kept.
 * @param keepsContent whether the body may be rewritten
 */
export async function readRequest(
  exchange: Exchange,
  route: BridgedRoute,
  share: BodyShare,
  keepsContent: boolean,
): Promise<ReadRequest> {
  const startedAt = performance.now()
  const body = await readWithin(exchange, share)
  const readingMs = performance.now() - startedAt
  const encodings = encodingsOf(exchange.request.headers['content-encoding'])
  const { adapted, content, ...interpreted } =
    encodings.length > 0
      ? await decodeAndInterpret(exchange, route, body, encodings, share, keepsContent)
      : interpret(exchange, route, body, readContent(body))
  const kept = keepsContent ? content : undefined
  return { content: kept, body: new HeldBody(share, body, adapted), readingMs, ...interpreted }
}

/** Interprets an encoded request. The decoded copy lives within its turn only, unless it is kept. */
function decodeAndInterpret(
  exchange: Exchange,
  route: BridgedRoute,
  body: Buffer,
  encodings: string[],
  share: BodyShare,
  keepsContent: boolean,
): Promise<Interpreted> {
  const { parts, signal } = exchange
  return parts.decodings.run(signal, async () => {
    let copied = 0
    const take = (bytes: number) => {
      share.take(bytes)
      copied += bytes
    }
    try {
      const content = await decodeContent(body, encodings, maxBodyBytes(exchange), { take })
      return interpret(exchange, route, body, content)
    } finally {
      if (!keepsContent) share.release(copied)
    }
  })
}

function interpret(
  exchange: Exchange,
  route: BridgedRoute,
  body: Buffer,
  { json, plain, text }: RequestContent,
): Interpreted {
  const { request, parts, caller } = exchange
  const encoding = request.headers['content-encoding']
  if (!json) parts.logger.warn({ encoding }, 'a request in an unreadable encoding is recorded without its prompt')
  const facts = route.readRequest(json ?? {}, request.headers)
  if (caller?.sessionId !== undefined) facts.sessionId = caller.sessionId
  const conversation = conversationOf(exchange, facts, json ?? {})
  const reader = route.createResponseReader(json)
  const adaptation = json && plain && route.adapt?.(json, plain)
  const mayAskForUsage = mayAdapt(exchange, facts)
  const content = json && text && { json, text, mayAskForUsage }
  if (!adaptation || !plain) return { facts, reader, filter: undefined, conversation, content, adapted: undefined }
  // A provider may send the chunk without a request too, and no client expects the chunk.
  const { body: patched, ...hidden } = adaptation
  const mark = body.subarray(0, body.length - plain.length)
  const adapted = mayAskForUsage ? [mark, ...patched] : undefined
  return { facts, reader, filter: new EventFilter(hidden), conversation, content, adapted }
}

/** Returns whether a request may ask for more than the client did. */
function mayAdapt({ parts, target }: Exchange, { model }: RequestFacts): boolean {
  return target.settings.includeUsage !== 'never' && parts.usageRequests.mayAsk(target.provider.name, model)
}
