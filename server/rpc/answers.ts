import { randomUUID } from 'node:crypto'
import { type Deadline, type Deadlines, now } from '../../shared/rpc/deadlines.js'
import { type CloseReason, closeCodes, type Duplex, type Message } from '../../shared/rpc/duplex.js'
import type { RpcError } from '../../shared/rpc/errors.js'
import { maxBurstFactor, times } from '../../shared/rpc/limits.js'
import { errorShape, toTrpcError } from './error-shape.js'
import type { AnyRouter, TRPCError } from './trpc-internals.js'

/** A failed call or connection, for the server's log. `error.cause` and its stack never reach the peer. */
export interface ErrorReport {
  error: TRPCError
  /** also in the error that the peer got */
  requestId: string
  type: 'query' | 'mutation' | 'subscription' | 'unknown'
  path: string | undefined
}

interface Addressee {
  readonly id: string | number
  readonly jsonrpc?: '2.0' | undefined
}

/** The call that an answer is for. */
export interface Answered extends Addressee {
  readonly type: 'query' | 'mutation' | 'subscription'
  readonly path: string
  /** as the procedure's parser got it; undefined where nobody has asked for it */
  readonly input?: unknown
}

/** What the answers need of their connection. */
interface Owner {
  readonly deadlines: Deadlines
  abandon(reason: CloseReason): void
}

export interface AnswersOptions {
  duplex: Duplex
  router: AnyRouter
  maxBufferedBytes: number
  owner: Owner
  onError: ((report: ErrorReport) => void) | undefined
}

/** What one connection sends: encoded by the router's transformer, errors in the shape of its formatter, bounded for a slow reader. */
export class Answers {
  /** the connection's, once there is one; the error formatter sees it */
  context: unknown
  readonly #options: AnswersOptions
  #connectionId = ''
  /** while more waits than may */
  #slow: Deadline | undefined

  constructor(options: AnswersOptions) {
    this.#options = options
  }

  /**
   * Sends a value of a call; `eventId` makes it resumable.
   * @throws what the transformer throws; RpcError if it is too large or cannot be sent. The connection goes on.
   */
  sendData(call: Answered, value: unknown, eventId?: string): void {
    const data = this.#encode(value)
    this.#sendTo(call, { result: eventId === undefined ? { type: 'data', data } : { type: 'data', id: eventId, data } })
  }

  sendStarted(call: Answered): void {
    this.#sendTo(call, { result: { type: 'started' } })
  }

  sendStopped(call: Answered): void {
    this.#sendTo(call, { result: { type: 'stopped' } })
  }

  /** Reports an error and sends it as a call's answer, or as the connection's own where there is no call. Never throws. */
  sendError(call: Answered | undefined, thrown: unknown, refused?: 'draining'): void {
    const error = toTrpcError(thrown)
    const requestId = this.report(call, error)
    try {
      const encoded = this.#encodeError(call, error, requestId)
      this.#sendTo(call, refused ? { error: encoded, refused } : { error: encoded })
    } catch (failure) {
      // The formatter made something that cannot be encoded or sent; the caller still gets an answer.
      this.report(call, failure)
      this.#sendFault(call, requestId)
    }
  }

  /** The last thing that can be said. */
  #sendFault(to: Addressee | undefined, requestId: string): void {
    const data = { code: 'INTERNAL_SERVER_ERROR', httpStatus: 500, requestId }
    try {
      this.#sendTo(to, { error: this.#encode({ code: -32603, message: 'internal server error', data }) })
    } catch (failure) {
      this.report(undefined, failure)
      this.#options.owner.abandon({ code: closeCodes.internalError, message: 'an answer could not be encoded' })
    }
  }

  /** Sends the error of a message that is no call, under the id that it has. Never throws. */
  sendInvalid(id: string | number, thrown: RpcError): void {
    const requestId = this.#requestId(id)
    try {
      this.send({ id, error: this.#encodeError(undefined, toTrpcError(thrown), requestId) })
    } catch (failure) {
      this.report(undefined, failure)
      this.#sendFault({ id }, requestId)
    }
  }

  /** Everything that a peer can provoke goes through here: one that asks and does not read is closed. */
  send(message: Message): void {
    const { duplex, maxBufferedBytes } = this.#options
    duplex.send(message)
    if (duplex.bufferedBytes > maxBufferedBytes) this.#tooMuch()
  }

  /** A burst of answers is given time to get through. */
  #tooMuch(): void {
    const { duplex, maxBufferedBytes, owner } = this.#options
    if (duplex.bufferedBytes > maxBufferedBytes * maxBurstFactor) return this.#judge()
    if (this.#slow) return
    this.#slow = { deadlineAt: now() + times.slowReaderMs, onDeadline: () => this.#judge() }
    owner.deadlines.add(this.#slow)
  }

  #judge(): void {
    this.#slow = undefined
    const { duplex, maxBufferedBytes, owner } = this.#options
    const { bufferedBytes } = duplex
    if (bufferedBytes <= maxBufferedBytes) return
    const [bytes, limit] = [bufferedBytes, maxBufferedBytes].map(number => number.toLocaleString('en'))
    const message = `${bytes} bytes wait for a slow reader, more than maxBufferedBytes ${limit}`
    owner.abandon({ code: closeCodes.slowReader, message })
  }

  /** Tells the server's log, and nobody else. Answers the id of the request. */
  report(call: Answered | undefined, thrown: unknown): string {
    const requestId = this.#requestId(call?.id ?? 0)
    try {
      const { onError } = this.#options
      onError?.({ error: toTrpcError(thrown), requestId, type: call?.type ?? 'unknown', path: call?.path })
    } catch {
      // An observer that throws must not change what the peer gets, and there is nobody else to tell.
    }
    return requestId
  }

  #sendTo(to: Addressee | undefined, body: { result: unknown } | { error: unknown; refused?: 'draining' }): void {
    if (!to) this.send({ id: null, ...body })
    else this.send(to.jsonrpc ? { id: to.id, jsonrpc: to.jsonrpc, ...body } : { id: to.id, ...body })
  }

  #encode(value: unknown): unknown {
    return this.#options.router._def._config.transformer.output.serialize(value)
  }

  #encodeError(call: Answered | undefined, error: TRPCError, requestId: string): unknown {
    const encoded = this.#encode(errorShape(this.#options.router, error, this.context, call, requestId))
    // An answer without its error breaks the protocol.
    if (encoded === undefined || typeof encoded === 'function' || typeof encoded === 'symbol')
      throw new Error(`what the error formatter made is sent as ${typeof encoded}, which JSON leaves out`)
    return encoded
  }

  /** Unique among connections, made when the first error needs one. */
  #requestId(id: string | number): string {
    this.#connectionId ||= randomUUID().slice(0, 8)
    return `${this.#connectionId}-${id}`
  }
}
