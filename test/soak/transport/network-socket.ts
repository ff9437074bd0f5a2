import { connect, type Socket } from 'node:net'

/** The far end of a real connection, with the same functions as a `ScriptedSocket`. */
export class NetworkSocket {
  readonly #socket: Socket
  #output: Buffer[] = []

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('data', chunk => this.#output.push(chunk))
  }

  static connect(port: number): NetworkSocket {
    return new NetworkSocket(connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true }))
  }

  get destroyed(): boolean {
    return this.#socket.destroyed
  }

  get writableEnded(): boolean {
    return this.#socket.readableEnded
  }

  /** Sends bytes to the victim. */
  feed(bytes: Buffer): void {
    if (this.#socket.writable) this.#socket.write(bytes)
  }

  feedEnd(): void {
    this.#socket.end()
  }

  get output(): Buffer {
    const all = Buffer.concat(this.#output)
    this.#output = [all]
    return all
  }

  set reads(reads: boolean) {
    if (reads) this.#socket.resume()
    else this.#socket.pause()
  }

  resumeReading(): void {
    this.#socket.resume()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
