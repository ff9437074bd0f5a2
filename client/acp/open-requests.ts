/** The requests of a connection that have no response, in both directions. */
import type { AcpId, AcpRequest } from '../../shared/acp/messages.js'
import { idKey } from '../../shared/acp/messages.js'

/** A request of this client. */
export interface OpenRequest {
  readonly id: AcpId
  readonly method: string
  readonly sessionId: string | undefined
  readonly timer: NodeJS.Timeout | undefined
}

/** Requests by their ids; `1` and `"1"` differ. */
export class OpenRequests {
  readonly #sent = new Map<string, OpenRequest>()
  /** session of each request of the agent, by its id */
  readonly #received = new Map<string, string | undefined>()

  /** requests of this client without a response */
  get sent(): number {
    return this.#sent.size
  }

  /** requests of the agent without a response */
  get received(): number {
    return this.#received.size
  }

  /** Returns the request of this client with an id. */
  find(id: unknown): OpenRequest | undefined {
    const key = idKey(id)
    return key === undefined ? undefined : this.#sent.get(key)
  }

  /** Adds a request of this client; `onDeadline` is called after `deadlineMs`. */
  add(
    { id, method }: AcpRequest,
    sessionId: string | undefined,
    deadlineMs: number | undefined,
    onDeadline: () => void,
  ): void {
    const timer = deadlineMs === undefined ? undefined : setTimeout(onDeadline, deadlineMs)
    this.#sent.set(String(idKey(id)), { id, method, sessionId, timer })
  }

  /** Takes the request out that a response settles; undefined if it was settled before, or never sent. */
  settle(id: unknown): OpenRequest | undefined {
    const found = this.find(id)
    if (!found) return undefined
    clearTimeout(found.timer)
    this.#sent.delete(String(idKey(id)))
    return found
  }

  /** Takes all requests of this client out, in the order of sending. */
  settleAll(): OpenRequest[] {
    const all = [...this.#sent.values()]
    for (const { timer } of all) clearTimeout(timer)
    this.#sent.clear()
    return all
  }

  /** Returns the requests of this client in a session, in the order of sending. */
  ofSession(sessionId: string): OpenRequest[] {
    return [...this.#sent.values()].filter(request => request.sessionId === sessionId)
  }

  /** Forgets the requests of the agent in a session. */
  forgetSession(sessionId: string): void {
    for (const [key, of] of this.#received) if (of === sessionId) this.#received.delete(key)
  }

  /** Notes a request of the agent. */
  receive(id: AcpId, sessionId: string | undefined): void {
    this.#received.set(String(idKey(id)), sessionId)
  }

  /** Takes a request of the agent out; undefined if it had a response before, or its session has ended. */
  respond(id: unknown): { readonly sessionId: string | undefined } | undefined {
    const key = String(idKey(id))
    if (!this.#received.has(key)) return undefined
    const sessionId = this.#received.get(key)
    this.#received.delete(key)
    return { sessionId }
  }
}
