import { now } from '../../../shared/rpc/deadlines.js'
import { afterTurn } from '../../../shared/rpc/turn.js'

/** Work of one turn of the event loop, in milliseconds. */
const workMs = 1

/** Sockets that read in one turn: a chunk of 64 KiB of each, whose work begins in the next turn. */
const readsPerTurn = 2

/** While new connections arrive, a turn with such work is followed by this many times as much time without. */
const restFactor = 4

/** A piece of work, which stops soon after `endAt` and then waits again. */
type Work = (endAt: number) => void

/**
 * Gives all unauthenticated peers of a listener together a little of each turn of the event loop, so that
 * authenticated clients have the rest. New connections go first: libuv accepts one connection in a turn, so each
 * millisecond here would delay all that wait, and some of them bring a key.
 */
export class UnauthenticatedTurns {
  #work: Work[] = []
  #reads: (() => void)[] = []
  #turn: 'not needed' | 'awaited' = 'not needed'
  /** connections that were accepted since the last turn */
  #accepts = 0
  /** the time until which new connections go first */
  #restsUntil = 0

  /** Notes a new connection. */
  readonly noteAccept = (): void => {
    this.#accepts++
  }

  /** Calls `work` in a later turn. */
  waitToWork(work: Work): void {
    this.#work.push(work)
    this.#await()
  }

  /** Calls `read`, which lets a socket read one chunk, in a later turn: not before all chunks are worked on. */
  waitToRead(read: () => void): void {
    this.#reads.push(read)
    this.#await()
  }

  #await(): void {
    if (this.#turn === 'awaited') return
    this.#turn = 'awaited'
    afterTurn(this.#take)
  }

  readonly #take = (): void => {
    this.#turn = 'not needed'
    const start = now()
    const isResting = this.#accepts > 0 && start < this.#restsUntil
    this.#accepts = 0
    if (!isResting) {
      this.#goOn(start + workMs)
      const end = now()
      this.#restsUntil = end + restFactor * (end - start)
    }
    if (this.#work.length + this.#reads.length > 0) this.#await()
  }

  #goOn(endAt: number): void {
    const work = this.#work
    this.#work = []
    let count = 0
    while (count < work.length && (count === 0 || now() < endAt)) work[count++]?.(endAt)
    this.#work = [...work.slice(count), ...this.#work]
    if (this.#work.length > 0) return
    for (const read of this.#reads.splice(0, readsPerTurn)) read()
  }
}
