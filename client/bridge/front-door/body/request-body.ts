import type { IncomingMessage } from 'node:http'
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import { decodeBody } from '../../wire/content-encoding.js'
import { Rejection } from '../../wire/rejection.js'
import type { BodyShare } from './body-memory.js'

/** The bounds of a body. */
export interface BodyBounds {
  maxBytes: number
  /** time in which {@link minProgressBytes} more must arrive, or the end of the body; 0 is none */
  timeoutMs: number
  /** the memory that the body takes: the announced length at once, other bodies as they arrive */
  share: BodyShare
}

/** Less in `bodyTimeoutMs` is no upload: at the default of 30 s, a tenth of what GPRS brings. */
export const minProgressBytes = 16 * 1024

/**
 * Reads the whole body, as received, until the signal aborts. The body is in memory once: its chunks are copied into
 * one buffer as they arrive if the client announced the length.
 * @throws Rejection 413 as soon as the body is known to be larger than `maxBytes`, 503 if the share cannot grow, 408 if
 *   the body arrives too slowly. Up to `maxBytes` more are read and dropped, so that the client sees the response
 *   rather than a reset.
 * @throws Rejection 400 if the client disconnects inside the body
 * @throws the signal's reason
 */
export function readBody(request: IncomingMessage, bounds: BodyBounds, signal: AbortSignal): Promise<Buffer> {
  const { maxBytes, timeoutMs, share } = bounds
  return new Promise((resolve, reject) => {
    const announced = Number(request.headers['content-length'] ?? 0)
    const body = new GrowingBody(announced)
    const rejectRest = (error: unknown) => {
      stop()
      dropRest(request, maxBytes)
      reject(error)
    }
    const rejectSize = (size: string) => {
      const message = `request body of ${size} bytes is larger than maxBodyBytes ${format(maxBytes)}`
      rejectRest(new Rejection(413, 'body_too_large', message))
    }
    const onData = (chunk: Buffer) => {
      const bytes = body.length + chunk.length
      if (bytes > maxBytes) return rejectSize(`at least ${format(bytes)}`)
      try {
        if (bytes > announced) share.take(bytes - Math.max(announced, body.length))
        body.add(chunk)
      } catch (error) {
        rejectRest(error)
      }
    }
    const onEnd = () => {
      stop()
      resolve(body.whole())
    }
    const onClose = () => {
      stop()
      reject(new Rejection(400, 'body_incomplete', `the request body ended after ${format(body.length)} bytes`))
    }
    const onAbort = () => rejectRest(signal.reason)
    let before = 0
    const onTime = () => {
      if (body.length - before < minProgressBytes) rejectRest(tooSlow(body.length - before, timeoutMs))
      before = body.length
    }
    let timer: NodeJS.Timeout | undefined
    const stop = () => {
      clearInterval(timer)
      signal.removeEventListener('abort', onAbort)
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
    }
    if (signal.aborted) return onAbort()
    if (announced > maxBytes) return rejectSize(format(announced))
    if (request.destroyed) return onClose()
    try {
      share.take(announced)
    } catch (error) {
      return rejectRest(error)
    }
    if (timeoutMs > 0) timer = setInterval(onTime, timeoutMs)
    signal.addEventListener('abort', onAbort, { once: true })
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

function tooSlow(bytes: number, timeoutMs: number): Rejection {
  const message = `only ${format(bytes)} bytes of the request body arrived within bodyTimeoutMs ${format(timeoutMs)}`
  return new Rejection(408, 'body_too_slow', message)
}

/** The chunks of a body. */
class GrowingBody {
  readonly #announced: number
  #buffer: Buffer | undefined
  readonly #chunks: Buffer[] = []
  length = 0

  constructor(announced: number) {
    this.#announced = announced
  }

  add(chunk: Buffer): void {
    if (this.length === 0 && chunk.length < this.#announced) this.#buffer = Buffer.allocUnsafeSlow(this.#announced)
    if (this.#buffer) chunk.copy(this.#buffer, this.length)
    else this.#chunks.push(chunk)
    this.length += chunk.length
  }

  whole(): Buffer {
    if (this.#buffer) return this.#buffer.subarray(0, this.length)
    const [only] = this.#chunks
    return only && this.#chunks.length === 1 ? only : Buffer.concat(this.#chunks, this.length)
  }
}

/** The content of a request body, as far as it can be read. */
export interface RequestContent {
  /** undefined for a body in an encoding that is unknown or broken: the provider decides about it */
  json: JsonObject | undefined
  /**
   * the plain bytes of the JSON, without a byte order mark, which may be patched; undefined for an encoded body, which
   * reaches the provider as it came
   */
  plain: Buffer | undefined
  /** the bytes of the JSON, of an encoded body a decoded copy; undefined without `json` */
  text: Buffer | undefined
}

/** The byte order mark in UTF-8, which some clients write before JSON. */
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * Reads the JSON object of a body that is not encoded.
 * @throws Rejection 400 if the body is not a JSON object
 */
export function readContent(body: Buffer): RequestContent & { plain: Buffer } {
  const hasMark = body.subarray(0, byteOrderMark.length).equals(byteOrderMark)
  const plain = hasMark ? body.subarray(byteOrderMark.length) : body
  return { json: parseJson(plain), plain, text: plain }
}

/**
 * Reads the JSON object of an encoded body.
 * @param encodings as {@link encodingsOf} returns them
 * @param maxBytes limit of the decoded body
 * @param share takes the memory of the decoded copy; the caller gives that memory back
 * @throws Rejection 413 if the decoded body is larger, 503 if the share cannot grow; 400 if the body is not a JSON
 *   object
 */
export async function decodeContent(
  body: Buffer,
  encodings: readonly string[],
  maxBytes: number,
  share: Pick<BodyShare, 'take'>,
): Promise<RequestContent> {
  const decoded = await decodeBody(body, encodings, maxBytes)
  if (decoded === 'too large') {
    const message = `request body of ${format(body.length)} bytes is decoded larger than maxBodyBytes ${format(maxBytes)}`
    throw new Rejection(413, 'body_too_large', message)
  }
  if (decoded === 'unreadable') return { json: undefined, plain: undefined, text: undefined }
  share.take(decoded.length)
  return { ...readContent(decoded), plain: undefined }
}

function parseJson(body: Buffer): JsonObject {
  let json: unknown
  try {
    json = JSON.parse(body.toString())
  } catch (error) {
    const message = `the request body of ${format(body.length)} bytes is not JSON${positionIn(error)}`
    throw new Rejection(400, 'body_not_json', message)
  }
  if (isPlainObject(json)) return json as JsonObject // came out of JSON.parse
  throw new Rejection(400, 'body_not_json', 'the request body is JSON, but not an object')
}

/** Returns the position that an error of `JSON.parse` names. The rest of its text quotes the body. */
function positionIn(error: unknown): string {
  const [, position] = /\bat position (\d+)/.exec(error instanceof Error ? error.message : '') ?? []
  return position === undefined ? '' : `: error at position ${position}`
}

/** Reads and drops the rest of a body, so that the client sees the response; closes the connection above the limit. */
export function dropRest(request: IncomingMessage, maxBytes: number): void {
  let dropped = 0
  request.on('error', () => {}) // the client may disconnect; the rest is dropped anyway
  request.on('data', (chunk: Buffer) => {
    dropped += chunk.length
    if (dropped > maxBytes) request.destroy()
  })
}

function format(bytes: number): string {
  return bytes.toLocaleString('en')
}
