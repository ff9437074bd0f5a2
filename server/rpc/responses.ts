import { randomUUID } from 'node:crypto'
import { type Deadline, type Deadlines, now } from '../../shared/rpc/deadlines.js'
import { type CloseReason, closeCodes, type Duplex, type Message } from '../../shared/rpc/duplex.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { serializeForMessage } from '../../shared/rpc/json/transformer.js'
import { maxBurstFactor, times } from '../../shared/rpc/limits.js'
import { errorShape, toTrpcError } from './error-shape.js'
import type { AnyRouter, TRPCError } from './trpc-internals.js'

/** A failed call or connection, for the server's log. `error.cause` and its stack never reach the peer. */
export interface ErrorReport {
  error: TRPCError
  /** the id that the peer's error carries too */
  requestId: string
  type: 'query' | 'mutation' | 'subscription' | 'unknown'
  path: string | undefined
}

interface Addressee {
  readonly id: string | number
  readonly jsonrpc?: '2.0' | undefined
}

/** The call that a response is for. */
export interface RespondedCall extends Addressee {
  readonly type: 'query' | 'mutation' | 'subscription'
  readonly path: string
  /** the input of the procedure's parser; undefined if no parser has asked for it */
  readonly input?: unknown
}

/** The functions of the connection that responses need. */
interface Owner {
  readonly deadlines: Deadlines
  abandon(reason: CloseReason): void
}

/** Settings of {@link Responses}. */
export interface ResponsesOptions {
  duplex: Duplex
  router: AnyRouter
  maxBufferedBytes: number
  owner: Owner
  onError: ((report: ErrorReport) => void) | undefined
}

/**
 * Sends the messages of one connection: values encoded by the router's transformer, errors in the shape of its
 * formatter, in bounded memory for a slow reader.
 */
export class Responses {
  /** the connection's context, once made; an argument of the error formatter */
  context: unknown
  readonly #duplex: Duplex
  readonly #router: AnyRouter
  readonly #maxBufferedBytes: number
  readonly #owner: Owner
  readonly #onError: ResponsesOptions['onError']
  #connectionId = ''
  /** while more bytes are buffered than allowed */
  #slowReader: Deadline | undefined

  constructor(options: ResponsesOptions) {
    this.#duplex = options.duplex
    this.#router = options.router
    this.#maxBufferedBytes = options.maxBufferedBytes
    this.#owner = options.owner
    this.#onError = options.onError
  }

  /**
   * Sends a value of a call; `eventId` makes the subscription resumable.
   * @throws RpcError for the peer, and the connection goes on: `PAYLOAD_TOO_LARGE` (message_too_large) above
   *   `maxMessageBytes`; `INTERNAL_SERVER_ERROR` for a value without an encoding
   */
  sendData(call: RespondedCall, value: unknown, eventId?: string): void {
    try {
      const data = this.#encode(value)
      const result = eventId === undefined ? { type: 'data', data } : { type: 'data', id: eventId, data }
      // The message that most calls get is written out: a spread takes 50 ns more.
      this.send(call.jsonrpc ? { id: call.id, jsonrpc: call.jsonrpc, result } : { id: call.id, result })
    } catch (thrown) {
      throw outputError(thrown)
    }
  }

  /** Sends the message that a subscription has started. */
  sendStarted(call: RespondedCall): void {
    this.#sendTo(call, { result: { type: 'started' } })
  }

  /** Sends the message that a subscription has ended without an error. */
  sendStopped(call: RespondedCall): void {
    this.#sendTo(call, { result: { type: 'stopped' } })
  }

  /** Reports an error and sends it as a call's response, or without a call as the connection's own. Never throws. */
  sendError(call: RespondedCall | undefined, thrown: unknown, refused?: 'draining'): void {
    const error = toTrpcError(thrown)
    const requestId = this.report(call, error)
    try {
      const encoded = this.#encodeError(call, error, requestId)
      this.#sendTo(call, refused ? { error: encoded, refused } : { error: encoded })
    } catch (failure) {
      // The formatter's result cannot be encoded or sent; the caller gets a response all the same.
      this.report(call, failure)
      this.#sendFault(call, requestId)
    }
  }

  /** Sends the error of a message that is no call, under the id of the message. Never throws. */
  sendInvalid(id: string | number, thrown: RpcError): void {
    const requestId = this.#requestId(id)
    try {
      this.send({ id, error: this.#encodeError(undefined, toTrpcError(thrown), requestId) })
    } catch (failure) {
      this.report(undefined, failure)
      this.#sendFault({ id }, requestId)
    }
  }

  /**
   * Sends one message, and closes for a peer that reads too slowly. Every message that a peer can provoke goes through
   * here.
   */
  send(message: Message): void {
    this.#duplex.send(message)
    if (this.#duplex.bufferedBytes > this.#maxBufferedBytes) this.#limitBuffer()
  }

  /** Reports to the server's log only. Returns the id of the request. */
  report(call: RespondedCall | undefined, thrown: unknown): string {
    const requestId = this.#requestId(call?.id ?? 0)
    try {
      this.#onError?.({ error: toTrpcError(thrown), requestId, type: call?.type ?? 'unknown', path: call?.path })
    } catch {
      // An observer that throws must not change the peer's response, and no other observer is left.
    }
    return requestId
  }

  /** Sends the last possible error: one without the router's formatter. */
  #sendFault(to: Addressee | undefined, requestId: string): void {
    const data = { code: 'INTERNAL_SERVER_ERROR', httpStatus: 500, requestId }
    try {
      this.#sendTo(to, { error: this.#encode({ code: -32603, message: 'internal server error', data }) })
    } catch (failure) {
      this.report(undefined, failure)
      this.#owner.abandon({ code: closeCodes.internalError, message: 'a response could not be encoded' })
    }
  }

  /** Gives a burst of responses some time to get through, up to a multiple of the limit. */
  #limitBuffer(): void {
    if (this.#duplex.bufferedBytes > this.#maxBufferedBytes * maxBurstFactor) return this.closeIfSlow()
    if (this.#slowReader) return
    this.#slowReader = { deadlineAt: now() + times.slowReaderMs, onDeadline: () => this.closeIfSlow() }
    this.#owner.deadlines.add(this.#slowReader)
  }

  /** Closes now, if more than `maxBufferedBytes` wait. */
  closeIfSlow(): void {
    this.#slowReader = undefined
    const { bufferedBytes } = this.#duplex
    if (bufferedBytes <= this.#maxBufferedBytes) return
    const [bytes, limit] = [bufferedBytes, this.#maxBufferedBytes].map(number => number.toLocaleString('en'))
    const message = `${bytes} bytes wait for a slow reader, more than maxBufferedBytes ${limit}`
    this.#owner.abandon({ code: closeCodes.slowReader, message })
  }

  #sendTo(to: Addressee | undefined, body: { result: unknown } | { error: unknown; refused?: 'draining' }): void {
    if (!to) this.send({ id: null, ...body })
    else this.send(to.jsonrpc ? { id: to.id, jsonrpc: to.jsonrpc, ...body } : { id: to.id, ...body })
  }

  #encode(value: unknown): unknown {
    return serializeForMessage(this.#router._def._config.transformer.output, value)
  }

  #encodeError(call: RespondedCall | undefined, error: TRPCError, requestId: string): unknown {
    const encoded = this.#encode(errorShape(this.#router, error, this.context, call, requestId))
    // A response without its error would break the protocol.
    if (encoded === undefined || typeof encoded === 'function' || typeof encoded === 'symbol')
      throw new Error(`the error formatter's result is sent as ${typeof encoded}, which JSON leaves out`)
    return encoded
  }

  /** Returns an id that is unique among connections. The first error of a connection makes its part. */
  #requestId(id: string | number): string {
    this.#connectionId ||= randomUUID().slice(0, 8)
    return `${this.#connectionId}-${id}`
  }
}

/**
 * Returns the error of an output that was not sent. The size helps the caller. Any other failure is the procedure's:
 * the words of an encoder or a `toJSON` stay in the log, as the cause.
 */
function outputError(thrown: unknown): RpcError {
  if (thrown instanceof RpcError && thrown.reason === 'message_too_large') {
    const { code, message, reason } = thrown
    return new RpcError(code, message, { reason, mayHaveRun: true, cause: thrown })
  }
  return new RpcError('INTERNAL_SERVER_ERROR', 'the output cannot be encoded', { cause: thrown })
}
