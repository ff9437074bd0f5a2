/** Dials a WebSocket from a web page or a web worker. */

import { DialError } from '../../../shared/rpc/dial-error.js'
import type { Duplex } from '../../../shared/rpc/duplex.js'
import { transportError } from '../../../shared/rpc/errors.js'
import { times } from '../../../shared/rpc/limits.js'
import { webSocketTimes } from '../../../shared/rpc/links/websocket-settings.js'
import type { ConnectionParams } from '../../../shared/rpc/messages.js'
import { timeoutOf } from '../../../shared/rpc/timeouts.js'
import { dialUrl } from '../websocket-url.js'
import { type BrowserDuplexOptions, browserDuplex } from './browser-duplex.js'
import type { BrowserSocket, BrowserSocketClass } from './browser-socket.js'

/** A WebSocket server and how to connect from a browser. Times are in milliseconds, sizes in bytes. */
export interface WebSocketDialOptions extends BrowserDuplexOptions {
  /** `ws://` or `wss://`, without credentials: URLs end up in logs */
  url: string | URL
  /** tRPC's first frame: the credentials, for instance `authorization`, since a browser sends no headers of a page */
  connectionParams?: ConnectionParams
  /** until the response to the upgrade; default 10 s */
  connectTimeoutMs?: number
}

/**
 * Creates a `dial` for {@link connect}: each call opens one WebSocket, or rejects with a {@link DialError}. A browser
 * hides the server's response to a rejected upgrade, so the client dials again after each; rejected `connectionParams`
 * close an open WebSocket with 4401 or 4403, which is final.
 * @throws RpcError `BAD_REQUEST` (config_invalid) at once, for an invalid URL or time, and for `headers` and `tls`,
 *   which a browser does not let a page choose
 */
export function webSocketDial(options: WebSocketDialOptions): (info: { signal: AbortSignal }) => Promise<Duplex> {
  return dialWith(browserClass, options)
}

/** As {@link webSocketDial}, with the class of the sockets, asked for at each dial. */
export function dialWith(
  socketClass: () => BrowserSocketClass,
  options: WebSocketDialOptions,
): (info: { signal: AbortSignal }) => Promise<Duplex> {
  const { url, connectionParams, connectTimeoutMs = times.connectTimeoutMs, ...duplexOptions } = options
  const patienceMs = timeoutOf('connectTimeoutMs', connectTimeoutMs)
  webSocketTimes(duplexOptions)
  rejectOption(options, 'headers')
  rejectOption(options, 'tls')
  const target = dialUrl(url, connectionParams !== undefined)

  return ({ signal }) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(cancelled(signal))
      const socket = openSocket(socketClass, target.href)
      const settle = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        socket.onopen = socket.onerror = socket.onclose = null
      }
      const fail = (error: DialError): void => {
        settle()
        socket.close(1000, '')
        reject(error)
      }
      const onAbort = (): void => fail(cancelled(signal))
      const timer = setTimeout(() => {
        fail(failure(`no response within connectTimeoutMs ${connectTimeoutMs.toLocaleString('en')}`))
      }, patienceMs)
      signal.addEventListener('abort', onAbort, { once: true })
      socket.onclose = ({ code }) => {
        fail(failure(`the WebSocket did not open (${code}); a browser hides the response of the server`))
      }
      socket.onopen = () => {
        settle()
        const duplex = browserDuplex(socket, duplexOptions)
        if (connectionParams !== undefined) duplex.send({ method: 'connectionParams', data: connectionParams })
        resolve(duplex)
      }
    })
}

/** Asked for at each dial: a page may have put another class there. */
function browserClass(): BrowserSocketClass {
  return Reflect.get<object, string>(globalThis, 'WebSocket') as BrowserSocketClass // the platform's, by its standard
}

/** @throws DialError for a URL that the browser does not let the page open, such as `ws://` from `https://` */
function openSocket(socketClass: () => BrowserSocketClass, url: string): BrowserSocket {
  try {
    const Socket = socketClass()
    return new Socket(url)
  } catch (cause) {
    const name = cause instanceof Error ? cause.name : 'an error'
    const problem = `the browser opens no WebSocket to this URL: ${name}`
    throw new DialError(problem, { fatal: true, reason: 'config_invalid', cause })
  }
}

/** Types for Node allow these options too, and silence would leave out a credential. */
function rejectOption(options: object, name: 'headers' | 'tls'): void {
  if (Reflect.get(options, name) === undefined) return
  throw transportError('config_invalid', `${name}: a browser takes none; credentials belong into connectionParams`)
}

function cancelled(signal: AbortSignal): DialError {
  return failure('the dial was cancelled', signal.reason)
}

function failure(message: string, cause?: unknown): DialError {
  return new DialError(message, { fatal: false, cause })
}
