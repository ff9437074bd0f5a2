import type { CloseReason, Duplex, Message } from '../duplex.js'
import { heapBytes } from '../json/heap-bytes.js'
import { connectionLimits, frameOverheadBytes } from '../limits.js'
import { turnBudget } from '../turn-budget.js'

/** The receiver's functions that a backlog needs. */
interface Owner {
  /** Takes one message; `batchIndex` is its place in its batch. */
  take(message: unknown, bytes: number, batchIndex: number | undefined): void
  /** Called once, when nothing is left; with the reason of a duplex that has closed meanwhile. */
  endBacklog(closed: CloseReason | undefined): void
}

type PausableDuplex = Pick<Duplex, 'pauseReading' | 'resumeReading'>

/** A message, or a batch without its first messages. */
interface Waiting {
  readonly message: Message
  readonly bytes: number
  /** the place of the next message of a batch */
  next: number
  /** memory */
  readonly heapBytes: number
}

const { maxBufferedBytes } = connectionLimits

/**
 * Hands over the messages of a batch, as many as this turn of the event loop has time for. Returns the backlog of a
 * batch that takes longer: thousands of rejected calls in one frame would take half a second.
 */
export function receiveBatch(
  batch: readonly unknown[],
  bytes: number,
  owner: Owner,
  duplex: PausableDuplex,
): Backlog | undefined {
  const waiting = { message: batch, bytes, next: 0, heapBytes: 0 }
  return takeWhile(waiting, owner, hasTime) ? undefined : new Backlog(waiting, owner, duplex)
}

/**
 * The rest of a batch and the messages behind it, which are handed over in their order, in later turns. The duplex is
 * asked to pause meanwhile. For a duplex that goes on, memory is bounded at the price of a long turn.
 */
export class Backlog {
  readonly #owner: Owner
  readonly #duplex: PausableDuplex
  #waiting: Waiting[]
  #bytes = 0
  #closed: CloseReason | undefined

  constructor(rest: Waiting, owner: Owner, duplex: PausableDuplex) {
    this.#owner = owner
    this.#duplex = duplex
    this.#waiting = [rest]
    duplex.pauseReading?.()
    turnBudget.wait('delivery', this.#goOn)
  }

  /** Adds a message or a batch behind the others. */
  add(message: Message, bytes: number): void {
    const memory = frameOverheadBytes + (typeof message === 'string' ? 0 : heapBytes(message, maxBufferedBytes))
    this.#bytes += memory
    this.#waiting.push({ message, bytes, next: 0, heapBytes: memory })
    while (this.#bytes > maxBufferedBytes && this.#takeFirst(always)) {}
  }

  /** Notes the close of the duplex, which is reported behind all messages. */
  close(reason: CloseReason): void {
    this.#closed ??= reason
  }

  /** Drops everything, for a receiver that has closed. */
  clear(): void {
    this.#waiting = []
    this.#bytes = 0
  }

  readonly #goOn = (): void => {
    let isGranted = true
    const may = (): boolean => {
      if (!isGranted) return hasTime()
      isGranted = false
      return true
    }
    while (this.#waiting.length > 0) if (!this.#takeFirst(may)) return turnBudget.wait('delivery', this.#goOn)
    this.#owner.endBacklog(this.#closed)
    this.#duplex.resumeReading?.()
  }

  /** Returns whether all of the first message was taken. */
  #takeFirst(may: () => boolean): boolean {
    const [first] = this.#waiting
    if (!first || !takeWhile(first, this.#owner, may)) return false
    // The receiver may have cleared the backlog.
    if (this.#waiting[0] !== first) return true
    this.#waiting.shift()
    this.#bytes -= first.heapBytes
    return true
  }
}

const hasTime = (): boolean => turnBudget.deliver()
const always = (): boolean => true

/** Hands over messages while `may`. Returns whether all were. */
function takeWhile(waiting: Waiting, owner: Owner, may: () => boolean): boolean {
  const { message, bytes } = waiting
  if (!Array.isArray(message)) {
    if (!may()) return false
    owner.take(message, bytes, undefined)
    return true
  }
  while (waiting.next < message.length) {
    if (!may()) return false
    const index = waiting.next++
    owner.take(message[index], bytes / message.length, index)
  }
  return true
}
