/** Streamable HTTP: a POST for each message, a stream of events for the connection and for each session. */
import { acpError } from '../../../shared/acp/errors.js'
import { maxIdLength } from '../../../shared/acp/limits.js'
import {
  type AcpMessage,
  type AcpRequest,
  type AcpResponse,
  isObject,
  isResponse,
} from '../../../shared/acp/messages.js'
import { cancelRequestMethod } from '../../../shared/acp/methods.js'
import { now } from '../../../shared/rpc/deadlines.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { encodeMessage } from '../../../shared/rpc/json/encode-message.js'
import { Backoff } from '../backoff.js'
import { checkInitializeResponse } from '../initialize-response.js'
import type { AcpClientSettings } from '../options.js'
import { HttpRejection } from '../rejection.js'
import type { Transport, TransportOwner } from '../transport.js'
import { Waits } from '../waits.js'
import { Channel, type Post } from './channel.js'
import { Exchange, type HttpRequest, type HttpResponse } from './exchange.js'
import { LiveStream } from './live-stream.js'

/** One connection over HTTP. */
export class HttpTransport implements Transport {
  readonly #settings: AcpClientSettings
  readonly #owner: TransportOwner
  readonly #exchange: Exchange
  readonly #waits = new Waits()
  /** by session; undefined stands for the connection */
  readonly #channels = new Map<string | undefined, Channel>()
  #connectionId: string | undefined
  #state: 'idle' | 'open' | 'closing' | 'closed' = 'idle'
  #isPaused = false
  bufferedBytes = 0
  full = false

  constructor(settings: AcpClientSettings, owner: TransportOwner) {
    this.#settings = settings
    this.#owner = owner
    this.#exchange = new Exchange(settings)
  }

  async initialize(request: AcpRequest): Promise<AcpResponse> {
    const { times, limits } = this.#settings
    const deadlineAt = now() + times.initializeTimeoutMs
    const body = encodeMessage(request, limits.maxMessageBytes)
    const backoff = new Backoff(times, this.#settings.random)
    for (;;) {
      const timeoutMs = Math.max(1, deadlineAt - now())
      const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
      const response = await this.#exchange.send({ method: 'POST', headers, body, timeoutMs }, limits.maxMessageBytes)
      if (response.status >= 200 && response.status < 300) return this.#begin(request, response)
      const rejection = new HttpRejection('initialize', response)
      // A full server has not run the request.
      if (rejection.status !== 503) throw rejection
      const waitMs = Math.max(rejection.retryAfterMs ?? 0, backoff.next())
      if (now() + waitMs >= deadlineAt) throw rejection
      await this.#waits.wait(waitMs)
    }
  }

  async #begin(request: AcpRequest, { headers, text }: HttpResponse): Promise<AcpResponse> {
    const header = headers['acp-connection-id']
    // Known from here on, so that the connection is ended if a check fails.
    if (isConnectionId(header)) this.#connectionId = header
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (cause) {
      throw acpError('response_not_json', `the response to initialize, ${text.length} characters, is not JSON`, {
        cause,
      })
    }
    const inBody = isObject(value) && isObject(value.result) ? value.result.connectionId : undefined
    if (isConnectionId(inBody)) this.#connectionId ??= inBody
    const response = checkInitializeResponse(value, request)
    if (response.error !== undefined) return response
    if (this.#connectionId === undefined) {
      throw acpError('response_without_connection', 'the response to initialize has no Acp-Connection-Id')
    }
    if (this.#state !== 'idle') throw acpError('connection_closed', 'the connection was closed')
    this.#state = 'open'
    await this.#open(undefined).stream.opened
    return response
  }

  send(message: AcpMessage, sessionId: string | undefined, orderedWith = sessionId): void {
    const text = encodeMessage(message, this.#settings.limits.maxMessageBytes)
    if (sessionId !== undefined && !/^[\x21-\x7e]+$/.test(sessionId)) {
      throw acpError('invalid_request', 'a session id goes into a header: visible ASCII characters')
    }
    const bytes = Buffer.byteLength(text)
    this.bufferedBytes += bytes
    if (this.bufferedBytes > this.#settings.limits.highWaterMarkBytes) this.full = true
    // The text is kept; of the message, which is the caller's, only what names it.
    this.#open(orderedWith).send({ message: nameOf(message), text, bytes, sessionId })
  }

  openSession(sessionId: string): void {
    if (this.#state === 'open') this.#open(sessionId)
  }

  closeSession(sessionId: string): void {
    const channel = this.#channels.get(sessionId)
    if (!channel) return
    this.#channels.delete(sessionId)
    // Messages behind the close are the agent's to reject.
    void channel.idle.then(() => channel.stream.stop())
  }

  pauseReading(): void {
    this.#isPaused = true
    for (const { stream } of this.#channels.values()) stream.pause()
  }

  resumeReading(): void {
    this.#isPaused = false
    for (const { stream } of this.#channels.values()) stream.resume()
  }

  async close({ flushes }: { flushes: boolean }): Promise<void> {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const { closeTimeoutMs } = this.#settings.times
    const isOpen = this.#state === 'open'
    this.#state = 'closing'
    if (flushes && isOpen) {
      const idle = Promise.all([...this.#channels.values()].map(channel => channel.idle))
      await Promise.race([idle, this.#waits.wait(closeTimeoutMs)])
    }
    this.#state = 'closed'
    this.#waits.end()
    for (const channel of this.#channels.values()) {
      channel.drop()
      channel.stream.stop()
    }
    if (this.#connectionId !== undefined) {
      // A server that has gone, or does not know the connection, has nothing to end.
      await this.#exchange.send(this.#request('DELETE', undefined, closeTimeoutMs)).catch(() => {})
    }
    await this.#exchange.destroy()
  }

  /** Returns the channel of a session, with a stream. */
  #open(sessionId: string | undefined): Channel {
    const existing = this.#channels.get(sessionId)
    if (existing) return existing
    const { times, limits, random } = this.#settings
    const stream = new LiveStream(
      {
        open: async (lastEventId, timeoutMs) => {
          const id = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
          const request = this.#request('GET', sessionId, timeoutMs, { accept: 'text/event-stream', ...id })
          const response = await this.#exchange.open(request)
          if ('body' in response) return response.body
          throw new HttpRejection(sessionId === undefined ? 'the stream' : "a session's stream", response)
        },
        onMessage: (message, bytes) => this.#owner.onMessage(message, bytes, sessionId),
        onFailed: error => this.#onStreamFailed(sessionId, error),
      },
      { ...times, ...limits, random },
    )
    if (this.#isPaused) stream.pause()
    const channel = new Channel(stream, post => this.#post(post))
    this.#channels.set(sessionId, channel)
    return channel
  }

  /** A rejection of one session's stream leaves the other sessions alone. */
  #onStreamFailed(sessionId: string | undefined, error: RpcError<string>): void {
    if (this.#state === 'closed') return
    const isOfSession = error instanceof HttpRejection && !error.isFinal && error.reason !== 'stream_gap'
    if (sessionId === undefined || !isOfSession) return this.#owner.onFailure(error)
    const channel = this.#channels.get(sessionId)
    this.#channels.delete(sessionId)
    for (const post of channel?.drop() ?? []) this.#fail(post, error)
    this.#owner.onSessionFailed(sessionId, error)
  }

  async #post(post: Post): Promise<void> {
    const { times, random } = this.#settings
    const backoff = new Backoff(times, random)
    const giveUpAt = now() + times.lostAfterMs
    for (;;) {
      const error = await this.#tryPost(post)
      if (this.#state === 'closed') return
      if (!error) return this.#note(post)
      const waitMs = backoff.next(error instanceof HttpRejection ? error.retryAfterMs : 0)
      if (!mayRepeat(post, error) || now() + waitMs > giveUpAt) {
        this.#fail(post, error)
        if (error instanceof HttpRejection && error.isFinal) this.#owner.onFailure(error)
        return
      }
      await this.#waits.wait(waitMs)
    }
  }

  async #tryPost({ text, sessionId }: Post): Promise<RpcError<string> | undefined> {
    const { responseTimeoutMs } = this.#settings.times
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    try {
      const response = await this.#exchange.send({
        ...this.#request('POST', sessionId, responseTimeoutMs, headers),
        body: text,
      })
      return response.status >= 200 && response.status < 300 ? undefined : new HttpRejection('a message', response)
    } catch (thrown) {
      return RpcError.from(thrown)
    }
  }

  #fail(post: Post, error: RpcError<string>): void {
    this.#note(post)
    this.#owner.onUndelivered(post.message, error)
  }

  /** The server has taken a message, or never will. */
  #note({ bytes }: Post): void {
    this.bufferedBytes -= bytes
    if (!this.full || this.bufferedBytes > this.#settings.limits.highWaterMarkBytes / 2) return
    this.full = false
    this.#owner.onDrain()
  }

  #request(
    method: HttpRequest['method'],
    sessionId: string | undefined,
    timeoutMs: number,
    headers: Readonly<Record<string, string>> = {},
  ): HttpRequest {
    const connection = this.#connectionId === undefined ? {} : { 'acp-connection-id': this.#connectionId }
    const session = sessionId === undefined ? {} : { 'acp-session-id': sessionId }
    return { method, headers: { ...headers, ...connection, ...session }, timeoutMs }
  }
}

/** The id goes into a header. */
function isConnectionId(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value) && value.length <= maxIdLength
}

/** Returns a message without params and result. */
function nameOf(message: AcpMessage): AcpMessage {
  if (isResponse(message)) return { jsonrpc: '2.0', id: message.id }
  const { id, method } = message
  return id === undefined ? { jsonrpc: '2.0', method } : { jsonrpc: '2.0', id, method }
}

/** Notifications that change nothing when they arrive twice. */
const repeatableMethods = new Set(['session/cancel', cancelRequestMethod])

/**
 * Whether a message may be posted again: one that was not sent, and one whose second arrival changes nothing. A
 * response to a request that is settled is dropped by the server.
 */
function mayRepeat({ message }: Post, error: RpcError<string>): boolean {
  if (error.reason === 'unreachable') return true
  const changesNothing = isResponse(message) || (message.id === undefined && repeatableMethods.has(message.method))
  if (!changesNothing) return false
  return error instanceof HttpRejection ? error.status >= 500 || error.status === 429 : error.mayHaveRun === true
}
