import type { Transform } from 'node:stream'
import { decoderOf } from '../wire/content-encoding.js'

interface Offer {
  bytes: Uint8Array
  /** asks for the next bytes; gets an error if the reader did not take these */
  taken: (error?: Error) => void
}

/**
 * The body of a fetch's response: the handler's bytes, without their content encoding, one chunk whenever the reader
 * asks for one.
 */
export class ResponseBody {
  readonly stream: ReadableStream<Uint8Array>
  /** in the order of the bytes, from writer to reader */
  readonly #decoders: readonly Transform[]
  #controller: ReadableByteStreamController | undefined
  #wanted = false
  #offer: Offer | undefined
  /** callback of the bytes that the decoders have not taken whole; a destroyed decoder never calls back */
  #decoding: Offer['taken'] | undefined

  /**
   * @param encodings value of the header `Content-Encoding`; an unknown one leaves the bytes encoded
   * @param onCancel called when the reader cancels the body
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

  /** Takes bytes and calls back when they were read. One call at a time. */
  write(bytes: Uint8Array, taken: Offer['taken']): void {
    const [decoder] = this.#decoders
    if (!decoder) return this.#put({ bytes, taken })
    this.#decoding = taken
    decoder.write(bytes, error => this.#decoded(error ?? undefined))
  }

  /** Ends the body and calls back when all bytes were read. */
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

  /** Ends an open body with an error. Unread bytes are dropped. */
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
    // Reader and writer may both reuse their memory: hence the copy.
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
