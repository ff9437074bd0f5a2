import { randomUUID } from 'node:crypto'
import { closeCodes, type Duplex, type Message } from '../../shared/duplex.js'
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

/** The call that an answer is for. */
export interface Answered {
  readonly id: string | number
  readonly jsonrpc?: '2.0' | undefined
  readonly type: 'query' | 'mutation' | 'subscription'
  readonly path: string
  /** as the procedure's parser got it; undefined where nobody has asked for it */
  readonly input?: unknown
}

export interface AnswersOptions {
  duplex: Duplex
  router: AnyRouter
  maxBufferedBytes: number
  onError: ((report: ErrorReport) => void) | undefined
}

/** What one connection sends: encoded by the router's transformer, errors in the shape of its formatter, bounded for a slow reader. */
export class Answers {
  /** the connection's, once there is one; the error formatter sees it */
  context: unknown
  readonly #options: AnswersOptions
  #connectionId = ''

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
      const data = { code: 'INTERNAL_SERVER_ERROR', httpStatus: 500, requestId }
      this.#sendTo(call, { error: this.#encode({ code: -32603, message: 'internal server error', data }) })
    }
  }

  /** Sends the error of a message that is no call, under the id that it has. */
  sendInvalid(id: string | number, thrown: unknown): void {
    const error = this.#encodeError(undefined, toTrpcError(thrown), this.#requestId(id))
    this.send({ id, error })
  }

  /** Everything that a peer can provoke goes through here: one that asks and does not read is cut off. */
  send(message: Message): void {
    const { duplex, maxBufferedBytes } = this.#options
    duplex.send(message)
    if (duplex.bufferedBytes <= maxBufferedBytes) return
    const [bytes, limit] = [duplex.bufferedBytes, maxBufferedBytes].map(number => number.toLocaleString('en'))
    const problem = `${bytes} bytes wait for a slow reader, more than maxBufferedBytes ${limit}`
    duplex.terminate({ code: closeCodes.slowReader, message: problem })
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

  #sendTo(call: Answered | undefined, body: { result: unknown } | { error: unknown; refused?: 'draining' }): void {
    if (!call) this.send({ id: null, ...body })
    else this.send(call.jsonrpc ? { id: call.id, jsonrpc: call.jsonrpc, ...body } : { id: call.id, ...body })
  }

  #encode(value: unknown): unknown {
    return this.#options.router._def._config.transformer.output.serialize(value)
  }

  #encodeError(call: Answered | undefined, error: TRPCError, requestId: string): unknown {
    return this.#encode(errorShape(this.#options.router, error, this.context, call, requestId))
  }

  /** Unique among connections, made when the first error needs one. */
  #requestId(id: string | number): string {
    this.#connectionId ||= randomUUID().slice(0, 8)
    return `${this.#connectionId}-${id}`
  }
}
