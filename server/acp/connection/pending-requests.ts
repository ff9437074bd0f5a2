/** Requests of one side without a response. */
import { acpError } from '../../../shared/acp/errors.js'
import { type AcpId, type AcpRequest, idKey } from '../../../shared/acp/messages.js'

/** The stream of a message: that of a session, or undefined for the connection's. */
export type Route = string | undefined

/** An open request. */
export interface PendingRequest {
  readonly id: AcpId
  readonly method: string
  /** the stream on which its response travels, or from which its response is expected */
  route: Route
  /** the session that the request belongs to */
  readonly sessionId: string | undefined
}

/** Finds open requests by their ids. */
export class PendingRequests {
  readonly #requests = new Map<string, PendingRequest>()
  readonly #maxRequests: number

  constructor(maxRequests: number) {
    this.#maxRequests = maxRequests
  }

  get size(): number {
    return this.#requests.size
  }

  /**
   * Adds a request.
   * @throws RpcError `CONFLICT` (duplicate_id) or `TOO_MANY_REQUESTS` (too_many_requests)
   */
  add({ id, method }: AcpRequest, sessionId: string | undefined, route: Route): void {
    const key = keyOf(id)
    if (this.#requests.has(key)) throw acpError('duplicate_id', `a request with the id ${JSON.stringify(id)} is open`)
    if (this.#requests.size >= this.#maxRequests) {
      const limit = this.#maxRequests.toLocaleString('en')
      throw acpError('too_many_requests', `${limit} requests are open, as many as maxPendingRequests allows`)
    }
    this.#requests.set(key, { id, method, route, sessionId })
  }

  get(id: AcpId | null | undefined): PendingRequest | undefined {
    return this.#requests.get(keyOf(id))
  }

  /** Removes and returns a request. */
  take(id: AcpId | null): PendingRequest | undefined {
    const key = keyOf(id)
    const request = this.#requests.get(key)
    this.#requests.delete(key)
    return request
  }

  /** Removes and returns all requests. */
  clear(): PendingRequest[] {
    const requests = [...this.#requests.values()]
    this.#requests.clear()
    return requests
  }

  /** Removes the requests of a session that has ended. */
  deleteOf(sessionId: string): void {
    for (const [key, request] of this.#requests) if (request.sessionId === sessionId) this.#requests.delete(key)
  }

  /** Sends the responses for a session that has ended over the connection's stream. */
  rerouteOf(sessionId: string): void {
    for (const request of this.#requests.values()) if (request.route === sessionId) request.route = undefined
  }
}

function keyOf(id: unknown): string {
  return idKey(id) ?? ''
}
