/** Duplexes over which this process calls, counted in a connection group like the connections that it serves. */
import { type CloseReason, callerDrains, type Duplex, type Message } from '../../shared/rpc/duplex.js'
import { HeldDuplex } from '../../shared/rpc/links/held-duplex.js'
import type { ConnectionGroup, GroupMember, MemberObserver } from './connection-group.js'

/**
 * Counts a duplex over which this process calls, and the calls, in a connection group until the duplex closes. The
 * group's `close()` asks both ends for a move: the far end dials another server, and the connection that has this
 * duplex sends no further call. Then it waits for the calls in flight and closes with 1001.
 *
 * `serveWebSockets` does this for the duplexes that it hands out; it is of use for other links, such as
 * `memoryDuplexPair`.
 * @returns the duplex to use in place of the given one
 * @throws RpcError `SERVICE_UNAVAILABLE` (draining) if the group is closing; the duplex is closed with 1001
 */
export function groupDuplex(duplex: Duplex, group: ConnectionGroup): Duplex {
  return groupedDuplex(duplex, group)
}

/** A counted duplex whose end can be awaited. */
export interface CountedDuplex extends Duplex {
  readonly closed: Promise<CloseReason>
}

/** Counts as {@link groupDuplex} does. */
export function groupedDuplex(duplex: Duplex, group: ConnectionGroup): CountedDuplex {
  const grouped = new GroupedDuplex(duplex)
  try {
    group.add(grouped)
  } catch (error) {
    grouped.close(callerDrains)
    throw error
  }
  return grouped
}

/**
 * ```
 * open ──drain()──▶ draining ──▶ closed
 *   └─────────────────────────────▲
 * ```
 * While it drains, every close is one with 1001: the far end goes on elsewhere.
 */
class GroupedDuplex extends HeldDuplex implements GroupMember {
  #phase: 'open' | 'draining' | 'closed' = 'open'
  #closeReason: CloseReason | undefined
  #observer: MemberObserver | undefined
  #resolveIdle: (() => void) | undefined
  #resolveClosed: ((reason: CloseReason) => void) | undefined
  /** made when it is asked for */
  #closed: Promise<CloseReason> | undefined

  get closed(): Promise<CloseReason> {
    this.#closed ??= new Promise(resolve => {
      if (this.#closeReason) resolve(this.#closeReason)
      else this.#resolveClosed = resolve
    })
    return this.#closed
  }

  observeClose(observer: MemberObserver): void {
    this.#observer = observer
  }

  drain(): void {
    if (this.#phase !== 'open') return
    this.#phase = 'draining'
    // No connection has this duplex, so no call is in flight.
    if (!this.isOpened) return this.close(callerDrains)
    this.send({ id: null, method: 'reconnect' })
    // As if the far end had said so: a connection sends no further call here.
    this.onMessage({ id: null, method: 'reconnect' }, 0)
  }

  whenIdle(): Promise<void> {
    return new Promise(resolve => {
      this.#resolveIdle = resolve
      this.#reportIdle()
    })
  }

  /** Procedures run at the far end. */
  async whenReleased(): Promise<void> {}

  /** The close ends the calls for their callers, and aborts them at the far end. */
  abortCalls(): void {}

  override send(message: Message): void {
    super.send(message)
    // A call that its caller ends is sent a stop before it is forgotten.
    if (this.#phase === 'draining') queueMicrotask(() => this.#reportIdle())
  }

  override close(reason: CloseReason, patienceMs?: number): void {
    super.close(this.#phase === 'draining' ? callerDrains : reason, patienceMs)
  }

  override onMessage(message: Message, bytes: number): void {
    super.onMessage(message, bytes)
    if (this.#phase === 'draining') this.#reportIdle()
  }

  /** The receiver has taken a batch that was longer than a turn. */
  override resumeReading(): void {
    super.resumeReading()
    if (this.#phase === 'draining') queueMicrotask(() => this.#reportIdle())
  }

  override onClose(reason: CloseReason): void {
    super.onClose(reason)
    if (this.#closeReason) return
    this.#phase = 'closed'
    this.#closeReason = reason
    this.#observer?.onMemberClosed(this)
    this.#resolveClosed?.(reason)
    this.#reportIdle()
  }

  #reportIdle(): void {
    if (this.activeCalls === 0) this.#resolveIdle?.()
  }
}
