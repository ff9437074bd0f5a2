/** Reads a copy of a response while the original passes. Nothing here throws: unreadable parts leave no record. */
import type { Logger } from '../../../shared/values/log.js'
import type { ResponseFacts, ResponseReader } from '../providers/provider-api.js'
import { decoderOf } from '../wire/content-encoding.js'
import { blanks, jsonStarts } from '../wire/first-byte.js'
import { findHeader, isEventStream, type ResponseHead } from '../wire/headers.js'
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

/** Takes the decompressed bytes of a response. */
interface Sink {
  push(chunk: Buffer): void
  end(): void
}

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
  readonly #readable: boolean
  #sink: Sink | undefined
  #isStream = false
  #failed = false

  constructor({ head, reader, maxBytes, logger }: InspectionOptions) {
    this.#reader = reader
    this.#maxBytes = maxBytes
    this.#logger = logger
    this.#status = head.status
    this.#isDeclaredStream = isEventStream(head.headers)
    const encoding = (findHeader(head.headers, 'content-encoding') ?? 'identity').trim().toLowerCase()
    const decoder = decoderOf(encoding)
    this.#readable = encoding === 'identity' || encoding === '' || decoder !== undefined
    if (decoder) this.#decompression = new Decompression(decoder, chunk => this.#take(chunk), maxBytes, logger)
    if (!this.#readable) logger.warn({ encoding }, 'a response in an unknown encoding is not recorded')
  }

  /**
   * Takes one chunk. Returns whether the chunk holds the end of a streamed response; false for a compressed one, whose
   * end is known only later.
   */
  write(chunk: Buffer): boolean {
    if (this.#decompression) this.#decompression.write(chunk)
    else if (this.#readable) this.#take(chunk)
    return this.#reader.complete
  }

  /** Returns the facts of the response. A stream without its last event counts as failed. */
  async end(): Promise<ResponseFacts> {
    if (this.#decompression) await this.#decompression.end()
    if (this.#readable) this.#guard(() => this.#sinkFor(undefined).end())
    let facts: ResponseFacts = { tools: [], thoughts: [] }
    this.#guard(() => {
      facts = this.#reader.facts()
    })
    // The body of an error may be plain text, with any first byte.
    if (this.#isStream && this.#readable && this.#status < 300 && !this.#reader.mayEnd) {
      facts.error ??= { type: 'unknown', message: 'the response ended before it was complete' }
    }
    return facts
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

/** The first bytes of `data`, `event`, `id`, `retry` and of comments. */
const eventStarts = new Set(Buffer.from('deir:'))

function eventSink(onEvent: (event: SseEvent) => void, maxBytes: number, logger: Logger): Sink {
  const events = new SseReader(onEvent, maxBytes)
  return {
    push: chunk => events.push(chunk),
    end() {
      events.end()
      if (events.oversized > 0)
        logger.warn({ events: events.oversized, maxBytes }, 'events too large to be read are not recorded')
    },
  }
}

function bodySink(reader: ResponseReader, maxBytes: number, logger: Logger): Sink {
  let chunks: Buffer[] = []
  let bytes = 0
  return {
    push(chunk) {
      bytes += chunk.length
      if (bytes <= maxBytes) chunks.push(chunk)
      else chunks = []
    },
    end() {
      if (bytes > maxBytes)
        return logger.warn({ bytes, maxBytes }, 'a response that is too large to be read is not recorded')
      const text = Buffer.concat(chunks).toString()
      let json: unknown
      try {
        json = JSON.parse(text)
      } catch {
        return logger.warn({ bytes }, 'a response that is not JSON is not recorded')
      }
      reader.body(json)
    },
  }
}
