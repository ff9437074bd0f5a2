/** Opens a WebSocket, for transports of their own above it. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { ClientOptions } from 'ws'
import { DuplexSocket } from '../../shared/rpc/links/duplex-socket.js'

/** The response to an upgrade that was rejected. */
export class UpgradeRejected extends Error {
  override readonly name = 'UpgradeRejected'
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** the beginning of the body */
  readonly text: string

  constructor({ statusCode = 0, headers }: IncomingMessage, text: string) {
    super(`the server responded with ${statusCode}`)
    this.status = statusCode
    this.headers = headers
    this.text = text
  }
}

/** No response to an upgrade in time. */
export class UpgradeTimeout extends Error {
  override readonly name = 'UpgradeTimeout'
}

/** longest response to a rejected upgrade that is read */
const maxRejectionBytes = 16 * 1024

/**
 * Dials, and resolves with what `take` makes of the open socket; `take` is called before the first frame is read.
 * @throws UpgradeRejected, UpgradeTimeout; the abort's reason; the error of the network; that of `ws`, at once, for
 *   options that make no request
 */
export function dialSocket<T>(
  target: URL,
  options: ClientOptions,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  take: (socket: DuplexSocket, raw: Socket, headers: IncomingHttpHeaders) => T,
): Promise<T> {
  const socket = new DuplexSocket(target, options)
  return new Promise((resolve, reject) => {
    let response: IncomingMessage | undefined
    const settle = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      socket.off('error', fail)
      socket.off('unexpected-response', onRejected)
    }
    const fail = (error: unknown): void => {
      settle()
      // `ws` treats the end of the attempt as an error, and reports the error later.
      socket.on('error', () => {})
      socket.terminate()
      reject(error)
    }
    const onRejected = (_request: unknown, rejected: IncomingMessage): void => {
      readText(rejected, text => fail(new UpgradeRejected(rejected, text)))
    }
    const onAbort = (): void => fail(signal.reason)
    const timer = setTimeout(() => fail(new UpgradeTimeout('no response to the upgrade in time')), timeoutMs)
    signal.addEventListener('abort', onAbort, { once: true })
    socket.on('error', fail)
    socket.once('unexpected-response', onRejected)
    socket.once('upgrade', upgraded => {
      response = upgraded
    })
    socket.once('open', () => {
      settle()
      if (!response) throw new Error('ws opened a WebSocket without an upgrade')
      resolve(take(socket, response.socket, response.headers))
    })
    if (signal.aborted) onAbort()
  })
}

/** Returns the whole of a short response, or the part that arrived. */
function readText(response: IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = []
  let bytes = 0
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxRejectionBytes) response.destroy()
  })
  response.once('close', () => done(Buffer.concat(chunks).toString()))
  response.on('error', () => {})
}
