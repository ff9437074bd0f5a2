import type { Transform } from 'node:stream'
import { decoderOf } from '../wire/content-encoding.js'

interface Offer {
  bytes: Uint8Array
  /** lets the next bytes come; an error where these were not taken */
  taken: (error?: Error) => void
}

/** The body of a fetch's answer: what a handler writes, chunk by chunk as it is asked for, without its content encoding. */
export class ResponseBody {
  readonly stream: ReadableStream<Uint8Array>
  /** from what is written to what is read */
  readonly #decoders: readonly Transform[]
  #controller: ReadableByteStreamController | undefined
  #wanted = false
  #offer: Offer | undefined
  /** of what the decoders have not taken whole; a decoder that is destroyed calls nobody back */
  #decoding: Offer['taken'] | undefined

  /**
   * @param encodings of the header `Content-Encoding`; if one is unknown the bytes stay as they are
   * @param onCancel the reader wants no more
   */
  constructor(encodings: string, onCancel: () => void) {
    this.stream = new ReadableStream({
      type: 'bytes',
      start: controller => {
        this.#controller = controller as ReadableByteStreamController // by its type
      },
      pull: () => {
        this.#wanted = true
        this.#flow()
      },
      cancel: () => {
        this.#controller = undefined
        onCancel()
      },
    })
    this.#decoders = this.#decode(encodings)
  }

  /** Takes what was written; calls back when it was read. Once at a time. */
  write(bytes: Uint8Array, taken: Offer['taken']): void {
    const [decoder] = this.#decoders
    if (!decoder) return this.#put({ bytes, taken })
    this.#decoding = taken
    decoder.write(bytes, error => this.#decoded(error ?? undefined))
  }

  /** The body is whole; calls back when all of it was read. */
  end(done: () => void): void {
    const whole = () => {
      this.#close()
      done()
    }
    const output = this.#decoders.at(-1)
    if (!output) return whole()
    output.once('end', whole)
    this.#decoders[0]?.end()
  }

  /** Ends the body with an error, unless it is over. What was written and not read is dropped. */
  fail(reason: unknown): void {
    this.#controller?.error(reason)
    this.#controller = undefined
    for (const decoder of this.#decoders) decoder.destroy()
    const offer = this.#offer
    this.#offer = undefined
    offer?.taken(readerGone())
    this.#decoded(readerGone())
  }

  #decoded(error: Error | undefined): void {
    const taken = this.#decoding
    this.#decoding = undefined
    taken?.(error)
  }

  #close(): void {
    const controller = this.#controller
    this.#controller = undefined
    controller?.close()
    controller?.byobRequest?.respond(0)
  }

  #put(offer: Offer): void {
    if (!this.#controller) return offer.taken(readerGone())
    this.#offer = offer
    this.#flow()
  }

  #flow(): void {
    if (!this.#wanted || !this.#offer) return
    const { bytes, taken } = this.#offer
    this.#wanted = false
    this.#offer = undefined
    // A copy: the reader may do with its memory whatever it likes, and so may the writer.
    this.#controller?.enqueue(new Uint8Array(bytes))
    taken()
  }

  #decode(encodings: string): Transform[] {
    const names = encodings === '' ? [] : encodings.toLowerCase().split(',').reverse()
    const decoders: Transform[] = []
    for (const name of names) {
      const decoder = decoderOf(name.trim())
      if (!decoder) return []
      decoders.push(decoder)
    }
    for (const [index, decoder] of decoders.entries()) {
      decoder.on('error', error => this.fail(new TypeError('terminated', { cause: error })))
      decoders[index - 1]?.pipe(decoder)
    }
    const output = decoders.at(-1)
    output?.on('data', (bytes: Buffer) => {
      output.pause()
      this.#put({ bytes, taken: () => output.resume() })
    })
    return decoders
  }
}

const readerGone = (): Error => new Error('the reader of the response is gone')
