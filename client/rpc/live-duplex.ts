import { CallTable } from '../../shared/rpc/call-table.js'
import { now } from '../../shared/rpc/deadlines.js'
import { textOf } from '../../shared/rpc/dial-error.js'
import {
  type CloseReason,
  closeCodes,
  type Duplex,
  type DuplexReceiver,
  type Message,
} from '../../shared/rpc/duplex.js'
import { mayHaveRunOf, RpcError } from '../../shared/rpc/errors.js'
import { heapBytes } from '../../shared/rpc/json/heap-bytes.js'
import { connectionLimits, times } from '../../shared/rpc/limits.js'
import { type Backlog, receiveBatch } from '../../shared/rpc/links/backlog.js'
import { InvalidMessage, parseServerMessage, type ResultMessage, type WireError } from '../../shared/rpc/messages.js'
import type { CallObserver, CallOptions } from './call-observer.js'

/**
 * Longest error of a connection, in bytes of memory: each call in flight decodes a copy. A server of this project sends
 * some hundred bytes.
 */
const maxRejectionBytes = 16 * 1024

/** The part of a call that a duplex needs. */
interface SentCall {
  readonly id: number
  readonly options: CallOptions
  readonly observer: CallObserver
  lastEventId: string | undefined
  /** how often the call was sent */
  readonly sends: number
  /** its place among the messages that were sent on its duplex */
  sentAs: number
}

/** The connection's callbacks. */
interface Owner<C extends SentCall> {
  /** the duplex for new calls */
  readonly current: LiveDuplex<C> | undefined
  /** Called before the last callback of a call. */
  forget(call: C): void
  /** Called for a call that a draining server did not start. */
  sendElsewhere(live: LiveDuplex<C>, call: C): void
  /** Called when the server wants the client on another connection. */
  move(live: LiveDuplex<C>): void
  /** Called when further calls may have room. */
  sendQueued(): void
  lost(live: LiveDuplex<C>, reason: CloseReason): void
  report(thrown: unknown): void
}

/** A duplex that has not closed, and the calls in flight on the duplex. */
export class LiveDuplex<C extends SentCall> implements DuplexReceiver {
  readonly duplex: Duplex
  readonly calls = new CallTable<C>()
  readonly #owner: Owner<C>
  readonly #openedAt = now()
  #hasResponded = false
  /** messages that were given to the duplex */
  #sent = 0
  #state: 'open' | 'broken' | 'closed' = 'open'
  /** while a batch takes longer than a turn */
  #backlog: Backlog | undefined
  /** the server's error for the connection as a whole, after which the server closes the connection */
  rejection: WireError | undefined

  constructor(duplex: Duplex, owner: Owner<C>) {
    this.duplex = duplex
    this.#owner = owner
  }

  hasRoom(maxInFlight: number): boolean {
    return this.#state === 'open' && !this.duplex.full && this.calls.size < maxInFlight
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** Whether the connection was of use: one that closes at once says that the server is in trouble. */
  get wasOfUse(): boolean {
    return this.#hasResponded || now() - this.#openedAt >= times.reconnectResetMs
  }

  /** queries and mutations in flight */
  get activeCalls(): number {
    return this.calls.size - this.subscriptions.length
  }

  get hasLeft(): boolean {
    return this.#owner.current !== this
  }

  get subscriptions(): C[] {
    return this.calls.values().filter(({ options }) => options.type === 'subscription')
  }

  /** Whether the server has rejected the connection, and said so in words that exclude that this call has started. */
  #hasRejected({ observer }: C): boolean {
    if (this.rejection === undefined) return false
    try {
      // A copy: decoding takes the message over.
      return mayHaveRunOf(observer.decodeError?.(structuredClone(this.rejection))) === false
    } catch {
      return false // Unreadable: the call may have started.
    }
  }

  /**
   * Sends the message of a call.
   * @throws as {@link Duplex.send}
   */
  send(call: C, message: object): void {
    this.duplex.send(message)
    call.sentAs = ++this.#sent
  }

  /** Whether the procedure of a call that was sent on this duplex cannot have started because of it. */
  excludesStart(call: C): boolean {
    // The call waited in this process when the duplex was cut: the server has not seen the call.
    const isDropped = call.sentAs > this.#sent - (this.duplex.droppedMessages ?? 0)
    return isDropped || this.#hasRejected(call)
  }

  /** Asks the server to end a call. */
  stop({ id }: C): void {
    this.#trySend({ id, method: 'subscription.stop' })
  }

  onMessage(message: Message, bytes: number): void {
    if (this.#backlog) this.#backlog.add(message, bytes)
    else if (Array.isArray(message)) this.#backlog = receiveBatch(message, bytes, this, this.duplex)
    else this.take(message, bytes, undefined)
  }

  /** Takes one message of a frame, or a frame that is no batch. */
  take(message: unknown, bytes: number, batchIndex: number | undefined): void {
    if (batchIndex !== undefined) this.#receive(message, bytes)
    else if (message === 'PING') this.#pong()
    else if (message !== 'PONG') this.#receive(message, bytes)
  }

  /** Called by the backlog of this duplex. */
  endBacklog(closed: CloseReason | undefined): void {
    this.#backlog = undefined
    if (closed) this.onClose(closed)
  }

  onDrain(): void {
    this.#owner.sendQueued()
  }

  onClose(reason: CloseReason): void {
    if (this.#state === 'closed') return
    if (this.#backlog) return this.#backlog.close(reason)
    this.#state = 'closed'
    this.#owner.lost(this, reason)
  }

  /** Closes the duplex. */
  close(reason: CloseReason): void {
    this.#backlog?.clear()
    try {
      this.duplex.close(reason)
    } catch (thrown) {
      this.breakDown(thrown)
    }
  }

  /** Gives up a duplex that throws errors against its contract; nothing that it says is relied on any more. */
  breakDown(cause: unknown): void {
    if (this.#state !== 'open') return
    const message = `the duplex broke down: ${textOf(cause)}`
    this.#abandon({ code: closeCodes.abnormal, message })
    this.#owner.report(new RpcError('SERVICE_UNAVAILABLE', message, { reason: 'connection_lost', cause }))
  }

  /** Ends a duplex on which nothing is sent or received any more. */
  #abandon(reason: CloseReason): void {
    this.#state = 'broken'
    this.#backlog?.clear()
    queueMicrotask(() => {
      try {
        this.duplex.terminate(reason)
      } catch {
        // The cause is reported already.
      }
      this.onClose(reason)
    })
  }

  /** Pongs alone need a limit: all other messages wait for room by themselves. */
  #pong(): void {
    this.#trySend('PONG')
    if (this.duplex.bufferedBytes <= connectionLimits.maxBufferedBytes) return
    this.duplex.terminate({ code: closeCodes.slowReader, message: 'the server sends PING and does not read' })
  }

  #trySend(message: Message): void {
    try {
      this.duplex.send(message)
      this.#sent++
    } catch (thrown) {
      if (thrown instanceof RpcError) this.#owner.report(thrown)
      else this.breakDown(thrown)
    }
  }

  #receive(raw: unknown, bytes: number): void {
    // Behind an invalid message, which may be one of thousands in a frame.
    if (this.#state !== 'open') return
    const message = parseServerMessage(raw)
    if (message instanceof InvalidMessage) return this.#closeInvalid(message)
    if (message.id === null) {
      if (!('error' in message)) return this.#owner.move(this)
      return this.#receiveRejection(message.error)
    }
    const call = this.calls.get(message.id)
    if (!call) return // settled or moved on this side while the message was under way
    if (!('error' in message)) this.#receiveResult(call, message.result, bytes)
    else if (message.refused === 'draining') return this.#owner.sendElsewhere(this, call)
    else this.#receiveError(call, message.error)
    this.#owner.sendQueued()
  }

  #receiveRejection(cause: WireError): void {
    if (heapBytes(cause, maxRejectionBytes) > maxRejectionBytes)
      return this.#closeInvalid(new InvalidMessage(null, 'the error of the connection is too large'))
    const isFirst = this.rejection === undefined
    this.rejection = cause
    if (!isFirst) return
    this.#owner.report(new RpcError('SERVICE_UNAVAILABLE', 'the server rejected the connection', { cause }))
  }

  #receiveError(call: C, error: unknown): void {
    this.#hasResponded = true
    this.#owner.forget(call)
    this.#guard(() => call.observer.onError(call.sends > 1 ? { remote: error, sentBefore: true } : { remote: error }))
  }

  #receiveResult(call: C, result: ResultMessage['result'], bytes: number): void {
    // The start of a subscription is no sign of use: a message that ends the connection may follow each time.
    if (result.type === 'started') return this.#guard(() => call.observer.onStarted?.())
    this.#hasResponded = true
    if (result.type === 'stopped') {
      this.#owner.forget(call)
      return this.#guard(() => call.observer.onStopped?.())
    }
    if (call.options.type !== 'subscription') this.#owner.forget(call)
    // An event without an id leaves the point to resume from unchanged.
    else if (result.id !== undefined) call.lastEventId = result.id
    this.#guard(() => call.observer.onData(result.data, result.id, bytes))
  }

  #closeInvalid({ problem }: InvalidMessage): void {
    this.#abandon({ code: closeCodes.protocolError, message: `not a valid message: ${problem}` })
    this.#owner.report(new RpcError('PARSE_ERROR', `the server sent no valid message: ${problem}`))
  }

  /** Reports the error of a caller's callback: the connection and all other calls go on. */
  #guard(callback: () => void): void {
    try {
      callback()
    } catch (thrown) {
      this.#owner.report(thrown)
    }
  }
}
