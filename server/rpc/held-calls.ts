import { CallTable } from '../../shared/rpc/call-table.js'
import type { CallMessage } from '../../shared/rpc/messages.js'

/** A call that was received and may not start yet. */
export interface HeldCall {
  readonly id: CallMessage['id']
  readonly message: CallMessage
  readonly batchIndex: number
  readonly receivedAt: number
  /** memory that counts against the limit of held calls */
  readonly bytes: number
  /** Neighbours in the order of arrival. Only {@link HeldCalls} sets them. */
  previous?: HeldCall | undefined
  next?: HeldCall | undefined
}

/**
 * The held calls of one connection, by id and in the order of arrival. A linked list beside a {@link CallTable}:
 * thousands of calls a second wait for a turn of the event loop, and a `Map` of short-lived entries keeps garbage
 * alive.
 */
export class HeldCalls {
  readonly #byId = new CallTable<HeldCall>()
  #first: HeldCall | undefined
  #last: HeldCall | undefined

  get size(): number {
    return this.#byId.size
  }

  /** the oldest */
  get first(): HeldCall | undefined {
    return this.#first
  }

  get(id: CallMessage['id']): HeldCall | undefined {
    return this.#byId.get(id)
  }

  add(held: HeldCall): void {
    this.#byId.add(held)
    held.previous = this.#last
    if (this.#last) this.#last.next = held
    else this.#first = held
    this.#last = held
  }

  delete(held: HeldCall): void {
    this.#byId.delete(held.id)
    const { previous, next } = held
    if (previous) previous.next = next
    else this.#first = next
    if (next) next.previous = previous
    else this.#last = previous
    held.previous = held.next = undefined
  }
}
