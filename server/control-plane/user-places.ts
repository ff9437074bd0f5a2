import { userConnections } from '../../shared/contract/limits.js'
import { transportError } from '../../shared/rpc/errors.js'

/** Connections of users, so that users cannot take the places of daemons and operators. */
export class UserPlaces {
  readonly #taken = new Map<string, number>()
  readonly #limits: { maxConnections: number; maxConnectionsOfUser: number }
  #all = 0

  constructor(limits: { maxConnections: number; maxConnectionsOfUser: number } = userConnections) {
    this.#limits = limits
  }

  /** @throws RpcError `SERVICE_UNAVAILABLE` (too_many_connections) if a further connection has no place */
  check(userId: string): void {
    const { maxConnections, maxConnectionsOfUser } = this.#limits
    const own = this.#taken.get(userId) ?? 0
    if (own >= maxConnectionsOfUser) throw full(`${own} connections of this user`, maxConnectionsOfUser)
    if (this.#all >= maxConnections) throw full(`${this.#all} connections of users`, maxConnections)
  }

  /**
   * Takes a place until the signal aborts.
   * @throws RpcError as {@link check}
   */
  take(userId: string, signal: AbortSignal): void {
    this.check(userId)
    if (signal.aborted) return
    this.#add(userId, 1)
    signal.addEventListener('abort', () => this.#add(userId, -1), { once: true })
  }

  #add(userId: string, count: 1 | -1): void {
    this.#all += count
    const own = (this.#taken.get(userId) ?? 0) + count
    if (own === 0) this.#taken.delete(userId)
    else this.#taken.set(userId, own)
  }
}

function full(found: string, limit: number) {
  return transportError('too_many_connections', `${found} are open, and ${limit} may be`)
}
