/** The parts of a {@link RoundMerger} that know no AI API: chunks become events or a whole body. */
import { bridgeLimits } from '../../../shared/contract/limits.js'
import { type EventFrame, EventFrames } from '../wire/event-frames.js'
import { blanks, jsonStarts } from '../wire/first-byte.js'
import type { HiddenCall, MergedBytes, RoundEnd, RoundMerger } from './injection-api.js'

/** A larger body, and a larger event, passes as it is: its calls are not run. */
const maxBytes = bridgeLimits.maxBodyBytes

/** Collects bytes for the client. */
export class ClientBytes {
  #pieces: Buffer[] = []
  /** whether the end of the client's response was written */
  isEnded = false

  /** Adds bytes. */
  write(bytes: Buffer | string): void {
    this.#pieces.push(typeof bytes === 'string' ? Buffer.from(bytes) : bytes)
  }

  /** Adds the last bytes of the client's response. */
  end(bytes: Buffer | string): void {
    this.write(bytes)
    this.isEnded = true
  }

  /** Returns the bytes since the last call. */
  take(): MergedBytes {
    const [only = Buffer.alloc(0), ...more] = this.#pieces
    this.#pieces = []
    return { bytes: more.length === 0 ? only : Buffer.concat([only, ...more]), isLast: this.isEnded }
  }
}

/** The calls of a round that has ended, and whether the client's response ends with it. */
export type Verdict = Pick<RoundEnd, 'calls' | 'isFinal'>

/** Reads the streamed response of one round and writes the client's. */
export interface StreamRound {
  /** Takes a frame of the stream. */
  frame(frame: EventFrame): void
  /** Ends the stream. */
  end(): Verdict
}

/** The response of a client, over all its rounds, as an API merges it. */
export interface MergedResponse {
  /** undefined until the first byte of the first round */
  kind: 'stream' | 'body' | undefined
  /** Begins to read the stream of a round. */
  stream(out: ClientBytes): StreamRound
  /** Reads the whole body of a round. */
  body(bytes: Buffer, out: ClientBytes): Verdict
  /** Returns the last bytes of a response that ends with an error. */
  error(kind: 'stream' | 'body', message: string): Buffer
}

/** A round without hidden calls. */
export const finalRound: Verdict = { calls: [] satisfies HiddenCall[], isFinal: true }

const mismatch = 'the provider responded to one of several calls with a stream and to another one with a body'

/** Begins to merge a round. */
export function mergeRound(response: MergedResponse): RoundMerger {
  return new Round(response)
}

class Round implements RoundMerger {
  readonly #response: MergedResponse
  readonly #out = new ClientBytes()
  #kind: 'stream' | 'body' | undefined
  readonly #frames = new EventFrames(maxBytes)
  #stream: StreamRound | undefined
  /** undefined for a body that is too large */
  #body: Buffer[] | undefined = []
  #bodyBytes = 0

  constructor(response: MergedResponse) {
    this.#response = response
  }

  push(chunk: Buffer): MergedBytes {
    const first = this.#kind === undefined ? chunk.find(byte => !blanks.has(byte)) : undefined
    if (first !== undefined) this.#begin(jsonStarts.has(first) ? 'body' : 'stream')
    if (this.#stream) this.#read(this.#stream, this.#frames.push(chunk))
    else if (this.#body) this.#collect(this.#body, chunk)
    else this.#out.write(chunk)
    return this.#out.take()
  }

  end(): RoundEnd {
    const verdict = this.#verdict()
    if (verdict.isFinal) this.#out.isEnded = true
    return { calls: verdict.calls, isFinal: verdict.isFinal, held: this.#out.take() }
  }

  #begin(kind: 'stream' | 'body'): void {
    this.#kind = kind
    this.#response.kind ??= kind
    if (kind === 'body' || this.#isMismatched) return
    this.#stream = this.#response.stream(this.#out)
    const blanksBefore = Buffer.concat(this.#body ?? [])
    this.#body = []
    this.#read(this.#stream, this.#frames.push(blanksBefore))
  }

  get #isMismatched(): boolean {
    return this.#kind !== undefined && this.#kind !== this.#response.kind
  }

  #collect(body: Buffer[], chunk: Buffer): void {
    body.push(chunk)
    this.#bodyBytes += chunk.length
    if (this.#bodyBytes <= maxBytes) return
    this.#body = undefined
    if (!this.#isMismatched) this.#out.write(Buffer.concat(body))
  }

  #read(stream: StreamRound, frames: readonly EventFrame[]): void {
    for (const frame of frames) {
      try {
        stream.frame(frame)
      } catch {
        this.#out.write(frame.bytes) // a RangeError: JSON that is nested too deeply to be written again
      }
    }
  }

  #verdict(): Verdict {
    const { kind } = this.#response
    if (kind && this.#isMismatched) {
      this.#out.end(this.#response.error(kind, mismatch))
      return finalRound
    }
    try {
      if (this.#stream) {
        this.#read(this.#stream, this.#frames.end())
        return this.#stream.end()
      }
      if (this.#body && this.#bodyBytes > 0) return this.#response.body(Buffer.concat(this.#body), this.#out)
    } catch {
      if (this.#body) this.#out.write(Buffer.concat(this.#body)) // as above
    }
    return finalRound
  }
}
