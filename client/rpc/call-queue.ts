import type { PendingCall } from './call.js'
import type { LiveDuplex } from './live-duplex.js'

/**
 * The set of queues without a call that was sent before, which most stay: a set of their own would cost each 200 bytes.
 */
const none: Set<PendingCall> = new Set()

/** The calls that are to be sent, oldest first. */
export class CallQueue {
  /** older than all calls that were never sent */
  #sentBefore = none
  readonly #neverSent = new Set<PendingCall>()

  get size(): number {
    return this.#sentBefore.size + this.#neverSent.size
  }

  /** Adds a new call. */
  add(call: PendingCall): void {
    this.#neverSent.add(call)
  }

  /** Adds a call whose duplex closed or moved, before all new calls. */
  putBack(call: PendingCall): void {
    if (this.#sentBefore === none) this.#sentBefore = new Set()
    this.#sentBefore.add(call)
  }

  delete(call: PendingCall): void {
    this.#neverSent.delete(call)
    this.#sentBefore.delete(call)
  }

  [Symbol.iterator](): Iterator<PendingCall> {
    return [...this.#sentBefore, ...this.#neverSent].values()
  }

  /**
   * Sends calls while a duplex has room.
   * @param room returns the duplex for the next call; undefined ends the sending
   */
  sendAll(
    room: () => LiveDuplex<PendingCall> | undefined,
    send: (live: LiveDuplex<PendingCall>, call: PendingCall) => void,
  ): void {
    if (this.#sentBefore.size > 0 && room()) sendFrom(this.#sentBefore, inOrder(this.#sentBefore), room, send)
    if (this.#sentBefore.size === 0) sendFrom(this.#neverSent, this.#neverSent, room, send)
  }
}

function sendFrom(
  queue: Set<PendingCall>,
  calls: Iterable<PendingCall>,
  room: Parameters<CallQueue['sendAll']>[0],
  send: Parameters<CallQueue['sendAll']>[1],
): void {
  for (const call of calls) {
    const live = room()
    if (!live) return
    // The callback of an earlier call may have settled this one.
    if (queue.delete(call)) send(live, call)
  }
}

/** Calls are numbered in the order of their start. */
function inOrder(calls: Iterable<PendingCall>): PendingCall[] {
  return [...calls].sort((a, b) => a.id - b.id)
}
