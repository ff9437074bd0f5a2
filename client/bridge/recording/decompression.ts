import type { Transform } from 'node:stream'
import type { Logger } from '../../../shared/values/log.js'

/**
 * Decompresses a copy of a response. Gives up when more than `maxBytes` are queued, so that memory stays bounded.
 */
export class Decompression {
  readonly #decoder: Transform
  readonly #maxBytes: number
  readonly #logger: Logger
  readonly #ended: Promise<void>
  #waiting = 0

  constructor(decoder: Transform, onChunk: (chunk: Buffer) => void, maxBytes: number, logger: Logger) {
    this.#decoder = decoder
    this.#maxBytes = maxBytes
    this.#logger = logger
    this.#ended = new Promise(resolve => decoder.once('close', resolve))
    decoder.on('data', onChunk)
    decoder.on('error', error =>
      logger.warn({ err: error }, 'a response could not be decompressed; the part before the error is recorded'),
    )
  }

  /** Takes a chunk. Chunks after an error are dropped. */
  write(chunk: Buffer): void {
    if (this.#decoder.destroyed) return
    this.#waiting += chunk.length
    if (this.#waiting > this.#maxBytes) {
      this.#logger.warn(
        { maxBytes: this.#maxBytes },
        'a response arrived faster than it could be decompressed; the rest is not recorded',
      )
      this.#decoder.destroy()
    } else {
      this.#decoder.write(chunk, () => {
        this.#waiting -= chunk.length
      })
    }
  }

  /** Ends the input. Resolves when all output was delivered. */
  end(): Promise<void> {
    if (!this.#decoder.destroyed) this.#decoder.end()
    return this.#ended
  }
}
