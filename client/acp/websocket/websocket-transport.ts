/** A WebSocket: every message is a frame. Its end is the end of the connection. */
import { acpError } from '../../../shared/acp/errors.js'
import {
  type AcpMessage,
  type AcpRequest,
  type AcpResponse,
  checkMessage,
  isResponse,
} from '../../../shared/acp/messages.js'
import { now } from '../../../shared/rpc/deadlines.js'
import { type CloseReason, closeCodes, type Duplex, type Message } from '../../../shared/rpc/duplex.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { webSocketDuplex } from '../../../shared/rpc/links/websocket-duplex.js'
import { webSocketSettings } from '../../../shared/rpc/links/websocket-settings.js'
import { dialSocket, UpgradeRejected, UpgradeTimeout } from '../../rpc/dial-socket.js'
import { Backoff } from '../backoff.js'
import { CookieJar } from '../cookie-jar.js'
import { checkInitializeResponse } from '../initialize-response.js'
import type { AcpClientSettings } from '../options.js'
import { HttpRejection } from '../rejection.js'
import type { Transport, TransportOwner } from '../transport.js'
import { Waits } from '../waits.js'

interface Initializing {
  readonly request: AcpRequest
  resolve(response: AcpResponse): void
  reject(error: RpcError<string>): void
}

/** One connection over a WebSocket. */
export class WebSocketTransport implements Transport {
  readonly #settings: AcpClientSettings
  readonly #owner: TransportOwner
  readonly #cookies = new CookieJar()
  readonly #waits = new Waits()
  readonly #dial = new AbortController()
  #duplex: Duplex | undefined
  #initializing: Initializing | undefined
  #noteClosed: () => void = () => {}
  readonly #closed = new Promise<void>(resolve => {
    this.#noteClosed = resolve
  })
  #isClosing = false

  constructor(settings: AcpClientSettings, owner: TransportOwner) {
    this.#settings = settings
    this.#owner = owner
  }

  get bufferedBytes(): number {
    return this.#duplex?.bufferedBytes ?? 0
  }

  get full(): boolean {
    return this.#duplex?.full ?? false
  }

  async initialize(request: AcpRequest): Promise<AcpResponse> {
    const deadlineAt = now() + this.#settings.times.initializeTimeoutMs
    const duplex = await this.#open(deadlineAt)
    this.#duplex = duplex
    const { initializeTimeoutMs } = this.#settings.times
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => {
          const limit = initializeTimeoutMs.toLocaleString('en')
          this.#initializing?.reject(
            acpError('response_timeout', `initialize has no response within ${limit} ms`, { mayHaveRun: true }),
          )
        },
        Math.max(1, deadlineAt - now()),
      )
      const settle = (): void => {
        clearTimeout(timer)
        this.#initializing = undefined
      }
      this.#initializing = {
        request,
        resolve(response) {
          settle()
          resolve(response)
        },
        reject(error) {
          settle()
          reject(error)
        },
      }
      duplex.open({
        onMessage: (message, bytes) => this.#onMessage(message, bytes),
        onDrain: () => this.#owner.onDrain(),
        onClose: reason => this.#onClose(reason),
      })
      duplex.send(request)
    })
  }

  send(message: AcpMessage): void {
    this.#duplex?.send(message)
  }

  openSession(): void {} // one socket carries all sessions

  closeSession(): void {}

  pauseReading(): void {
    this.#duplex?.pauseReading?.()
  }

  resumeReading(): void {
    this.#duplex?.resumeReading?.()
  }

  async close({ flushes, code, message }: { flushes: boolean; code: number; message: string }): Promise<void> {
    this.#isClosing = true
    this.#waits.end()
    this.#dial.abort(acpError('connection_closed', 'the connection was closed'))
    const duplex = this.#duplex
    if (!duplex) return this.#noteClosed()
    if (flushes) duplex.close({ code, message })
    else duplex.terminate({ code, message })
    const { closeTimeoutMs } = this.#settings.times
    const timer = setTimeout(
      () => duplex.terminate({ code: closeCodes.abnormal, message: 'no response to the close' }),
      closeTimeoutMs,
    )
    await this.#closed
    clearTimeout(timer)
  }

  /** Dials until the deadline while the server has no room. */
  async #open(deadlineAt: number): Promise<Duplex> {
    const backoff = new Backoff(this.#settings.times, this.#settings.random)
    for (;;) {
      try {
        return await this.#dialOnce(Math.max(1, deadlineAt - now()))
      } catch (error) {
        if (!(error instanceof HttpRejection) || error.status !== 503) throw error
        const waitMs = Math.max(error.retryAfterMs ?? 0, backoff.next())
        if (now() + waitMs >= deadlineAt) throw error
        await this.#waits.wait(waitMs)
      }
    }
  }

  async #dialOnce(timeoutMs: number): Promise<Duplex> {
    const { url, headers, tls, limits } = this.#settings
    const cookie = this.#cookies.headerFor(url)
    const options = {
      ...tls,
      ...webSocketSettings(limits),
      headers: { ...headers, ...(cookie !== undefined && { cookie }) },
    }
    try {
      return await dialSocket(url, options, { timeoutMs, signal: this.#dial.signal }, (socket, raw) =>
        webSocketDuplex(socket, raw, limits),
      )
    } catch (cause) {
      if (cause instanceof RpcError) throw cause
      if (cause instanceof UpgradeRejected) {
        this.#cookies.store(cause.headers['set-cookie'], url)
        throw new HttpRejection('the WebSocket', cause)
      }
      if (cause instanceof UpgradeTimeout) {
        throw acpError('response_timeout', cause.message, { mayHaveRun: false, cause })
      }
      const problem = cause instanceof Error ? cause.message || String(Reflect.get(cause, 'code')) : String(cause)
      throw acpError('unreachable', `the server cannot be reached: ${problem}`, { mayHaveRun: false, cause })
    }
  }

  #onMessage(value: Message, bytes: number): void {
    const initializing = this.#initializing
    let message: AcpMessage
    try {
      message = checkMessage(value)
    } catch (cause) {
      const problem = cause instanceof Error ? cause.message : String(cause)
      const error = acpError('invalid_event', `a frame is no JSON-RPC message: ${problem}`, { cause })
      if (initializing) initializing.reject(error)
      else this.#owner.onFailure(error)
      return
    }
    if (!initializing || !isResponse(message)) return this.#owner.onMessage(message, bytes)
    try {
      initializing.resolve(checkInitializeResponse(message, initializing.request))
    } catch (thrown) {
      initializing.reject(RpcError.from(thrown))
    }
  }

  #onClose({ code, message, reason }: CloseReason): void {
    this.#noteClosed()
    const cause = new Error(`close code ${code}: ${message}`)
    const why = reason === undefined ? message : `${message} (${reason})`
    const error = acpError('connection_lost', `the WebSocket has closed with ${code}: ${why}`, {
      mayHaveRun: true,
      cause,
    })
    if (this.#initializing) this.#initializing.reject(error)
    else if (!this.#isClosing) this.#owner.onFailure(error)
  }
}
