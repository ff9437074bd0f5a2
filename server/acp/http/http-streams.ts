/** The streams of one connection over HTTP: its own, and one for each session. */
import type { ServerResponse } from 'node:http'
import { acpError } from '../../../shared/acp/errors.js'
import type { AcpMessage } from '../../../shared/acp/messages.js'
import { times as transportTimes } from '../../../shared/rpc/limits.js'
import type { AcpConnection } from '../connection/acp-connection.js'
import type { Outlet } from '../connection/outlet.js'
import type { Route } from '../connection/pending-requests.js'
import type { AcpEnd, AcpIdentity, AcpSettings } from '../options.js'
import { EventStream, type StreamOwner } from '../streams/event-stream.js'
import { OutputWatch } from '../streams/output-watch.js'
import { SseReader } from './sse-reader.js'

export class HttpStreams<I extends AcpIdentity = AcpIdentity> implements Outlet, StreamOwner {
  readonly #connection: AcpConnection<I>
  readonly #settings: AcpSettings<I>
  readonly #watch: OutputWatch
  readonly #own: EventStream
  readonly #ofSessions = new Map<string, EventStream>()
  /** timers of the streams that nobody reads and that have nothing to read */
  readonly #forgetting = new Map<EventStream, NodeJS.Timeout>()
  /** each open GET with its stream */
  readonly #readers = new Map<SseReader, { stream: EventStream; sessionId: string | undefined }>()
  /** requests that are being served */
  #visits = 0
  /** runs while there is neither a stream nor a request */
  #absence: NodeJS.Timeout | undefined
  #linger: NodeJS.Timeout | undefined
  #isEnding = false

  constructor(connection: AcpConnection<I>, settings: AcpSettings<I>) {
    this.#connection = connection
    this.#settings = settings
    this.#watch = new OutputWatch(connection, { ...settings.limits, slowReaderMs: settings.times.slowReaderMs })
    this.#own = new EventStream(this, settings.limits)
  }

  /** Number of the streams that are kept for sessions. */
  get sessionStreams(): number {
    return this.#ofSessions.size
  }

  onUnread(change: number): void {
    this.#watch.onUnread(change)
  }

  /** Notes the begin of a request, or the open of a stream. */
  enter(): void {
    this.#visits++
    clearTimeout(this.#absence)
  }

  /** Notes the end of the same. A client that stays away for `abandonedMs` has left. */
  leave(): void {
    if (--this.#visits > 0 || this.#isEnding) return
    const { abandonedMs } = this.#settings.times
    this.#absence = setTimeout(() => {
      const message = `no stream was open and no request came for ${abandonedMs.toLocaleString('en')} ms`
      this.#connection.end({ reason: 'abandoned', message }, 'cut')
    }, abandonedMs).unref()
  }

  /** Notes a request that is not being served yet. */
  visit(): void {
    this.enter()
    this.leave()
  }

  deliver(message: AcpMessage, route: Route): void {
    const json = JSON.stringify(message)
    const { maxMessageBytes } = this.#settings.limits
    if (json.length * 3 > maxMessageBytes && Buffer.byteLength(json) > maxMessageBytes) {
      return this.#connection.fail(`the agent sent a message above maxMessageBytes ${maxMessageBytes}`)
    }
    const stream = route === undefined ? this.#own : this.#streamOf(route)
    const wasRead = stream.unreadBytes === 0 && !stream.hasReader && route !== undefined
    stream.push(json)
    if (wasRead) this.#checkUnreadSessions()
  }

  /** Each session may leave a part of the output unread that no other session can use. */
  #checkUnreadSessions(): void {
    const { maxUnreadSessions } = this.#settings.limits
    let unread = 0
    for (const stream of this.#ofSessions.values()) if (!stream.hasReader && stream.unreadBytes > 0) unread++
    if (unread > maxUnreadSessions) {
      this.#connection.onSlowReader(`output of ${unread} sessions is unread, more than maxUnreadSessions allows`)
    }
  }

  #streamOf(sessionId: string): EventStream {
    const known = this.#ofSessions.get(sessionId)
    if (known) return known
    const stream = new EventStream(this, this.#settings.limits, this.#connection.sessions.nextIdOf(sessionId))
    this.#ofSessions.set(sessionId, stream)
    return stream
  }

  /**
   * Begins the response of a GET.
   * @throws RpcError `TOO_MANY_REQUESTS` (too_many_streams), or as {@link EventStream.attach}
   */
  open(response: ServerResponse, sessionId: string | undefined, lastEventId: string | undefined): void {
    const { maxStreams } = this.#settings.limits
    const stream = sessionId === undefined ? this.#own : this.#streamOf(sessionId)
    try {
      if (this.#readers.size >= maxStreams && !stream.hasReader) {
        throw acpError('too_many_streams', `${maxStreams} streams are open, as many as maxStreams allows`)
      }
      const owner = {
        onRead: () => this.#watch.onRead(),
        onReaderClosed: (reader: SseReader) => this.#onReaderClosed(reader),
      }
      const reader = new SseReader(response, owner, this.#settings.times.keepAliveMs)
      try {
        stream.attach(reader, lastEventId)
      } catch (error) {
        reader.discard()
        throw error
      }
      this.#keep(stream)
      this.#readers.set(reader, { stream, sessionId })
      this.enter()
      reader.begin()
    } catch (error) {
      this.#forgetUnused(stream, sessionId)
      throw error
    }
  }

  #onReaderClosed(reader: SseReader): void {
    const found = this.#readers.get(reader)
    if (!found) return
    this.#readers.delete(reader)
    found.stream.detach(reader)
    this.leave()
    if (this.#isEnding) return this.#reportGone()
    this.#forgetUnused(found.stream, found.sessionId)
  }

  /**
   * Drops the stream of a session that nobody reads for a while; one without events at once. Unread events keep the
   * stream, unless its session was closed.
   */
  #forgetUnused(stream: EventStream, sessionId: string | undefined): void {
    if (sessionId === undefined) return
    const isUsed = (): boolean =>
      this.#ofSessions.get(sessionId) !== stream || stream.hasReader || (stream.unreadBytes > 0 && !stream.isFinishing)
    if (isUsed()) return
    if (stream.isEmpty) return this.#forget(stream, sessionId)
    const timer = setTimeout(() => {
      if (!isUsed()) this.#forget(stream, sessionId)
    }, this.#settings.times.abandonedMs).unref()
    this.#keep(stream)
    this.#forgetting.set(stream, timer)
  }

  #keep(stream: EventStream): void {
    clearTimeout(this.#forgetting.get(stream))
    this.#forgetting.delete(stream)
  }

  #forget(stream: EventStream, sessionId: string): void {
    this.#keep(stream)
    this.#ofSessions.delete(sessionId)
    if (this.#connection.sessions.has(sessionId)) this.#connection.sessions.add(sessionId, stream.next)
    stream.clear()
  }

  endSession(sessionId: string): void {
    const stream = this.#ofSessions.get(sessionId)
    if (!stream) return
    stream.finish()
    this.#forgetUnused(stream, sessionId)
  }

  onFinished(finished: EventStream): void {
    for (const [sessionId, stream] of this.#ofSessions) if (stream === finished) this.#forget(stream, sessionId)
  }

  onAgentDrain(): void {}

  end(_: AcpEnd, how: 'flush' | 'cut'): void {
    const isFirst = !this.#isEnding
    this.#isEnding = true
    this.#watch.stop()
    clearTimeout(this.#absence)
    for (const timer of this.#forgetting.values()) clearTimeout(timer)
    this.#forgetting.clear()
    for (const stream of [this.#own, ...this.#ofSessions.values()]) {
      if (how === 'flush' && stream.hasReader) stream.finish()
      else stream.clear()
    }
    this.#ofSessions.clear()
    if (how === 'cut') this.#cut()
    if (isFirst && this.#readers.size > 0) {
      this.#linger = setTimeout(() => this.#cut(), transportTimes.closeLimitMs).unref()
    }
    this.#reportGone()
  }

  /** Cuts off the readers, also those that have not taken the last messages. */
  #cut(): void {
    for (const reader of this.#readers.keys()) reader.destroy()
  }

  #reportGone(): void {
    if (this.#readers.size > 0) return
    clearTimeout(this.#linger)
    this.#connection.onGone()
  }
}
