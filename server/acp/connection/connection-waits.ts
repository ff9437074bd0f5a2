import type { CloseReason } from '../../../shared/rpc/duplex.js'
import type { MemberObserver } from '../../rpc/connection-group.js'

/** Those who wait for the steps of a connection's end. */
export class ConnectionWaits {
  memberObserver: MemberObserver | undefined
  /** called when no request is open */
  idle: (() => void) | undefined
  /** the agent's end has closed, or there will be none */
  readonly released = new Wait<void>()
  /** nothing of the connection is left */
  readonly closed = new Wait<CloseReason>()
}

/** A value that comes once. The promise is made when it is asked for: most connections have none who asks. */
class Wait<T> {
  #value: { readonly it: T } | undefined
  #promise: Promise<T> | undefined
  #resolve: (value: T) => void = () => {}

  get promise(): Promise<T> {
    this.#promise ??= new Promise(resolve => {
      if (this.#value) resolve(this.#value.it)
      else this.#resolve = resolve
    })
    return this.#promise
  }

  resolve(value: T): void {
    this.#value ??= { it: value }
    this.#resolve(value)
  }
}
