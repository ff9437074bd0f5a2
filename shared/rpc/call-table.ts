import type { CallId } from './messages.js'

/** A call as the table knows it. */
interface Identified {
  readonly id: CallId
}

const initialSlots = 16
const mostSlots = 4096
/** of all tables that have grown none */
const noSlots: never[] = []

/**
 * The calls in flight of one connection, by id: a small `Map` for calls that come and go.
 *
 * A `Map` that never grows still makes a new backing store every few additions, and each store points to the next one.
 * Once V8 has moved one dead store to its old generation, all later stores survive with all their calls until the next
 * full collection: 2 MB of 11 MB allocated, and 41 % of the time of a busy in-memory link. A client numbers its calls,
 * so here a recent call stands in the slot of its number. Calls that stay, and calls with other ids, stand in a `Map`.
 */
export class CallTable<C extends Identified> {
  /** the call of a connection that has one call at a time: an idle connection has no slots */
  #only: C | undefined
  #slots: (C | undefined)[] = noSlots
  #inSlots = 0
  #others: Map<CallId, C> | undefined

  get size(): number {
    return (this.#only ? 1 : 0) + this.#inSlots + (this.#others?.size ?? 0)
  }

  get(id: CallId): C | undefined {
    if (this.#only?.id === id) return this.#only
    if (typeof id === 'number') {
      const call = this.#slots[id & (this.#slots.length - 1)]
      if (call?.id === id) return call
    }
    return this.#others?.get(id)
  }

  has(id: CallId): boolean {
    return this.get(id) !== undefined
  }

  /** Adds a call whose id is not in the table. */
  add(call: C): void {
    if (this.size === 0) this.#only = call
    else this.#addBeside(call)
  }

  #addBeside(call: C): void {
    const { id } = call
    if (typeof id !== 'number') return this.#addOther(call)
    if (this.#inSlots * 2 >= this.#slots.length && this.#slots.length < mostSlots) this.#grow()
    const slot = id & (this.#slots.length - 1)
    const older = this.#slots[slot]
    this.#slots[slot] = call
    if (older) this.#addOther(older)
    else this.#inSlots++
  }

  /** Takes the call with this id out; does nothing without such a call. */
  delete(id: CallId): void {
    if (this.#only?.id === id) {
      this.#only = undefined
      return
    }
    if (typeof id === 'number') {
      const slot = id & (this.#slots.length - 1)
      if (this.#slots[slot]?.id === id) {
        this.#slots[slot] = undefined
        this.#inSlots--
        return
      }
    }
    this.#others?.delete(id)
  }

  clear(): void {
    this.#only = undefined
    this.#slots = noSlots
    this.#inSlots = 0
    this.#others = undefined
  }

  /** Returns the calls of this moment, in no order. */
  values(): C[] {
    const calls = this.#others ? [...this.#others.values()] : []
    if (this.#only) calls.push(this.#only)
    for (const call of this.#slots) if (call) calls.push(call)
    return calls
  }

  #addOther(call: C): void {
    this.#others ??= new Map()
    this.#others.set(call.id, call)
  }

  #grow(): void {
    const calls = this.#slots
    this.#slots = new Array<C | undefined>(Math.max(initialSlots, calls.length * 4)).fill(undefined)
    this.#inSlots = 0
    for (const call of calls) if (call) this.#addBeside(call)
  }
}
