import type { Socket } from 'node:net'
import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import type { ConnectionGroup } from '../connection-group.js'

/**
 * Keeps the sockets of unauthenticated peers that were cut off, about as long as that of a silent peer may stay. A peer
 * whose socket ends may dial again, and a dial costs far more than a socket from which nothing is read: a thousand
 * floods that are cut off at once would keep the event loop busy with their next dials.
 */
export class HeldSockets {
  readonly #group: ConnectionGroup
  readonly #maxMs: number

  /** @param maxMs longest time that a socket is held */
  constructor(group: ConnectionGroup, maxMs: number) {
    this.#group = group
    this.#maxMs = maxMs
  }

  /** Destroys the socket later, or when the group closes. */
  hold(socket: Socket): void {
    if (this.#group.state !== 'open') return void socket.destroy()
    const destroy = (): void => void socket.destroy()
    // At random: peers that were cut off together must not dial again together.
    const timer = backgroundTimer(destroy, (this.#maxMs * (1 + Math.random())) / 2)
    const forget = this.#group.onDrain(destroy)
    socket.once('close', () => {
      clearTimeout(timer)
      forget()
    })
  }
}
