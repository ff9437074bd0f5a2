import type { Socket } from 'node:net'
import { transportError } from '../../../shared/rpc/errors.js'

/**
 * The places of a listener for clients that are not authenticated yet. An address holds at most as many as are free:
 * half of all if it is the only one, and the more addresses hold places, the fewer each gets, so that one that comes
 * later finds a place. Clients behind a network's common address, or behind a proxy, share the part of one address:
 * each needs its place for the moment of its authentication.
 */
export class UnauthenticatedPlaces {
  readonly #places: number
  readonly #addressOf = new Map<Socket, string>()
  /** number of places by address */
  readonly #held = new Map<string, number>()

  constructor(places: number) {
    this.#places = places
  }

  /**
   * Checks whether a client of an address may have a place.
   * @throws RpcError `SERVICE_UNAVAILABLE` (too_many_connections)
   */
  check(address: string): void {
    const { size } = this.#addressOf
    const free = this.#places - size
    const held = this.#held.get(address) ?? 0
    if (free > held) return
    const [what, limit] = free <= 0 ? [`${count(size)} connections`, 'as many as may'] : own(held, free)
    throw transportError('too_many_connections', `${what} wait for connectionParams, ${limit}`)
  }

  add(socket: Socket, address: string): void {
    this.#addressOf.set(socket, address)
    this.#held.set(address, (this.#held.get(address) ?? 0) + 1)
  }

  /** Frees the place of a socket; does nothing for a socket without one. */
  delete(socket: Socket): void {
    const address = this.#addressOf.get(socket)
    if (address === undefined) return
    this.#addressOf.delete(socket)
    const held = (this.#held.get(address) ?? 0) - 1
    if (held > 0) this.#held.set(address, held)
    else this.#held.delete(address)
  }
}

function own(held: number, free: number): [what: string, limit: string] {
  return [`${count(held)} connections of this address`, `as many as places are free: ${count(free)}`]
}

function count(number: number): string {
  return number.toLocaleString('en')
}
