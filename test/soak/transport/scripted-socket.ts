import { Duplex } from 'node:stream'

/**
 * The victim's end of a TCP connection without a network: a script feeds its input and keeps its output. A script that
 * does not read leaves the output in the victim's memory.
 */
export class ScriptedSocket extends Duplex {
  bytesRead = 0
  bytesWritten = 0
  readonly remoteAddress = '127.0.0.1'
  /** whether the far end reads */
  reads = true
  #output: Buffer[] = []
  #unread: ((error?: Error | null) => void) | undefined

  constructor() {
    super({ allowHalfOpen: true })
    this.on('error', () => {})
  }

  /** Passes bytes of the far end on. */
  feed(bytes: Buffer): void {
    if (this.destroyed || this.readableEnded) return
    this.bytesRead += bytes.length
    this.push(bytes)
  }

  /** Ends the far end's half. */
  feedEnd(): void {
    if (!this.destroyed) this.push(null)
  }

  /** Returns all output so far. */
  get output(): Buffer {
    const all = Buffer.concat(this.#output)
    this.#output = [all]
    return all
  }

  /** Reads from now on. */
  resumeReading(): void {
    this.reads = true
    this.#unread?.()
    this.#unread = undefined
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.bytesWritten += chunk.length
    this.#output.push(chunk)
    if (this.reads) done()
    else this.#unread = done
  }

  // Of a TCP socket; the product sets them.
  setTimeout(): this {
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
}
