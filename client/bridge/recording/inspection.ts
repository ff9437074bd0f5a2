/** Reads a copy of a response while the original passes. Nothing here throws: unreadable parts leave no record. */
import type { Logger } from '../../../shared/values/log.js'
import { isPlainObject } from '../../../shared/values/text.js'
import type { Failure } from '../providers/error-type.js'
import type { ResponseFacts, ResponseReader } from '../providers/provider-api.js'
import { errorIn } from '../providers/provider-errors.js'
import { parsed } from '../providers/reading.js'
import { decodeBody, decoderOf, encodingsOf } from '../wire/content-encoding.js'
import { blanks, jsonStarts } from '../wire/first-byte.js'
import { findHeader, isEventStream, type ResponseHead } from '../wire/headers.js'
import { JsonSkim } from '../wire/json-skim.js'
import { type SseEvent, SseReader } from '../wire/sse.js'
import { Decompression } from './decompression.js'

/** Options of {@link Inspection}. */
export interface InspectionOptions {
  head: ResponseHead
  reader: ResponseReader
  /** the largest blocking response and the largest event that are read, in bytes */
  maxBytes: number
  logger: Logger
}

/** A response in encodings that no stream decodes. */
interface Encoded {
  readonly encodings: readonly string[]
  chunks: Buffer[]
  bytes: number
}

/** Takes the decompressed bytes of a response. */
interface Sink {
  push(chunk: Buffer): void
  /** Returns the kind of the whole response. */
  end(): Reading
}

/**
 * The kind of a response that has ended:
 * - `read`: the reader got all of it
 * - `cut`: a body of `bytes` that begins as JSON and does not end as such
 * - `foreign`: a body that is no response of the API, with the words in it
 */
type Reading = { is: 'read' } | { is: 'cut'; bytes: number } | { is: 'foreign'; words: unknown }

/**
 * Reads one response: decompresses it, finds out whether it is a stream or a body, and feeds a {@link ResponseReader}.
 */
export class Inspection {
  readonly #reader: ResponseReader
  readonly #maxBytes: number
  readonly #logger: Logger
  readonly #status: number
  readonly #isDeclaredStream: boolean
  readonly #decompression: Decompression | undefined
  readonly #encoded: Encoded | undefined
  #sink: Sink | undefined
  #isStream = false
  #failed = false

  constructor({ head, reader, maxBytes, logger }: InspectionOptions) {
    this.#reader = reader
    this.#maxBytes = maxBytes
    this.#logger = logger
    this.#status = head.status
    this.#isDeclaredStream = isEventStream(head.headers)
    const encodings = encodingsOf(findHeader(head.headers, 'content-encoding'))
    const [only] = encodings.length === 1 ? encodings : []
    const decoder = only === undefined ? undefined : decoderOf(only)
    if (decoder) this.#decompression = new Decompression(decoder, chunk => this.#take(chunk), maxBytes, logger)
    else if (encodings.length > 0) this.#encoded = { encodings, chunks: [], bytes: 0 }
  }

  /**
   * Takes one chunk. Returns whether the chunk holds the end of a streamed response; false for a compressed one, whose
   * end is known only later.
   */
  write(chunk: Buffer): boolean {
    if (this.#decompression) this.#decompression.write(chunk)
    else if (this.#encoded) this.#keep(this.#encoded, chunk)
    else this.#take(chunk)
    return this.#reader.complete
  }

  /** Keeps a response that only a decoder of whole bodies can read. */
  #keep(encoded: Encoded, chunk: Buffer): void {
    encoded.bytes += chunk.length
    if (encoded.bytes <= this.#maxBytes) encoded.chunks.push(chunk)
    else encoded.chunks = []
  }

  /** Reads the kept bytes. Returns whether it could be decoded. */
  async #decode({ encodings, chunks, bytes }: Encoded): Promise<boolean> {
    const body =
      bytes > this.#maxBytes ? 'too large' : await decodeBody(Buffer.concat(chunks), encodings, this.#maxBytes)
    if (typeof body !== 'string') {
      this.#take(body)
      return true
    }
    const encoding = encodings.join(', ')
    this.#logger.warn({ encoding, problem: body }, 'a response whose encoding cannot be read is estimated')
    return false
  }

  /** whether the client has received a whole streamed response, perhaps without its usage */
  get isWhole(): boolean {
    return this.#isSuccess && this.#isStream && this.#reader.mayEnd
  }

  get #isSuccess(): boolean {
    return this.#status >= 200 && this.#status < 300
  }

  /** Returns the facts of the response so far. */
  soFar(): ResponseFacts {
    let facts: ResponseFacts = { tools: [], thoughts: [] }
    this.#guard(() => {
      facts = this.#reader.facts()
    })
    return { mayBeEstimated: this.#isSuccess && facts.error === undefined, ...facts }
  }

  /** Returns the facts of the response. A stream without its last event counts as failed. */
  async end(): Promise<ResponseFacts> {
    let facts: ResponseFacts = { tools: [], thoughts: [] }
    if (this.#decompression) await this.#decompression.end()
    if (this.#encoded && !(await this.#decode(this.#encoded))) {
      return this.#isSuccess ? { ...facts, relayedCharacters: this.#encoded.bytes, mayBeEstimated: true } : facts
    }
    let reading: Reading = { is: 'read' }
    this.#guard(() => {
      reading = this.#sinkFor(undefined).end()
    })
    this.#guard(() => {
      facts = this.#reader.facts()
    })
    return this.#judged(facts, reading)
  }

  #judged(facts: ResponseFacts, reading: Reading): ResponseFacts {
    if (!this.#isSuccess) {
      const words = reading.is === 'foreign' ? errorIn(reading.words) : undefined
      return words ? { ...facts, error: words } : facts
    }
    if (reading.is === 'foreign') {
      const message = `the provider sent status ${this.#status} with a body that is no response of its API`
      const error = isPlainObject(reading.words) ? errorIn(reading.words) : undefined
      return { ...facts, error: error ?? { type: 'unknown', message } }
    }
    const mayBeEstimated = facts.error === undefined
    if (reading.is === 'cut') return { ...facts, relayedCharacters: reading.bytes, mayBeEstimated, error: incomplete }
    const isCut = this.#isStream && !this.#reader.mayEnd
    return { mayBeEstimated, ...facts, ...(isCut && { error: facts.error ?? incomplete }) }
  }

  #take(chunk: Buffer): void {
    this.#guard(() => {
      const start = this.#sink ? 0 : chunk.findIndex(byte => !blanks.has(byte))
      if (start >= 0) this.#sinkFor(chunk[start]).push(start === 0 ? chunk : chunk.subarray(start))
    })
  }

  /**
   * Chooses the sink by the first byte that is not blank: no event begins as JSON does, and providers mislabel
   * responses that clients accept.
   */
  #sinkFor(first: number | undefined): Sink {
    if (!this.#sink) {
      const looksLikeStream = first === undefined || !jsonStarts.has(first)
      this.#isStream = looksLikeStream && (this.#isDeclaredStream || eventStarts.has(first ?? 0))
      this.#sink = this.#isStream
        ? eventSink(event => this.#guard(() => this.#reader.event(event)), this.#maxBytes, this.#logger)
        : bodySink(this.#reader, this.#maxBytes, this.#logger)
    }
    return this.#sink
  }

  /** Keeps an error in one part of a response from the other parts. */
  #guard(read: () => void): void {
    try {
      read()
    } catch (error) {
      if (!this.#failed) this.#logger.error({ err: error }, 'reading a response failed; a part of it is not recorded')
      this.#failed = true
    }
  }
}

const incomplete: Failure = { type: 'unknown', message: 'the response ended before it was complete' }

/** The first bytes of `data`, `error`, `event`, `id`, `retry` and of comments. */
const eventStarts = new Set(Buffer.from('deir:'))

function eventSink(onEvent: (event: SseEvent) => void, maxBytes: number, logger: Logger): Sink {
  const events = new SseReader(onEvent, maxBytes)
  return {
    push: chunk => events.push(chunk),
    end() {
      events.end()
      if (events.oversized > 0) {
        logger.warn(
          { events: events.oversized, maxBytes },
          'events too large to be kept are recorded without their long parts',
        )
      }
      return { is: 'read' }
    },
  }
}

function bodySink(reader: ResponseReader, maxBytes: number, logger: Logger): Sink {
  let chunks: Buffer[] = []
  let bytes = 0
  let large: JsonSkim | undefined
  return {
    push(chunk) {
      bytes += chunk.length
      if (large) large.push(chunk)
      else chunks.push(chunk)
      if (large || bytes <= maxBytes) return
      large = new JsonSkim()
      for (const kept of chunks) large.push(kept)
      chunks = []
    },
    end() {
      if (large) {
        logger.warn({ bytes, maxBytes }, 'a response too large to be kept is recorded without its long parts')
      }
      const text = large
        ? large.end()
        : Buffer.concat(chunks)
            .toString()
            .replace(/^\uFEFF/, '')
      if (text === undefined) return { is: 'read' }
      const json = parsed(text)
      if (json !== undefined) return reader.body(json) ? { is: 'read' } : { is: 'foreign', words: json }
      if (/^\s*[[{]/.test(text)) return { is: 'cut', bytes }
      logger.warn({ bytes }, 'a response that is not JSON is not recorded')
      return { is: 'foreign', words: isMarkup(text) ? undefined : text }
    },
  }
}

function isMarkup(text: string): boolean {
  return /^\s*</.test(text)
}
