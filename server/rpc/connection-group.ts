import { now } from '../../shared/rpc/deadlines.js'
import { type CloseReason, closeCodes } from '../../shared/rpc/duplex.js'
import { transportError } from '../../shared/rpc/errors.js'
import { times } from '../../shared/rpc/limits.js'
import { timeoutOf } from '../../shared/rpc/timeouts.js'
import { stragglersOf } from './stragglers.js'

/** A connection as seen by its group. */
export interface GroupMember {
  /** queries and mutations whose procedure has not returned, or that this process makes and awaits */
  readonly activeCalls: number
  /** Asks the peer to move on, and rejects later calls, or makes none. */
  drain(): void
  /** Resolves when no query or mutation runs any more, or the connection has closed. */
  whenIdle(): Promise<void>
  /** Resolves when every procedure has returned, those of subscriptions included. */
  whenReleased(): Promise<void>
  /** Sends an error for each running call and aborts the calls. */
  abortCalls(): void
  /** Closes after the delivery of everything sent so far; running calls are aborted. `patienceMs` as for a duplex. */
  close(reason: CloseReason, patienceMs?: number): void
  terminate(reason: CloseReason): void
  /** Reports the close to `observer`, once. A promise would take 350 bytes of an idle connection. */
  observeClose(observer: MemberObserver): void
  readonly closed: Promise<CloseReason>
}

/** The part of a group that its members need. */
export interface MemberObserver {
  onMemberClosed(member: GroupMember): void
}

/** The outcome of the calls in flight at `close()`: ended by themselves, or aborted at the end of the grace. */
export interface CloseResult {
  drained: number
  aborted: number
}

/**
 * Counts connections and their calls, of every link, so that a shutdown can wait for all of both: calls that this
 * process serves, and calls that it makes over the duplexes of {@link groupDuplex}.
 *
 * ```
 * open ──close()──▶ draining ──every call ended, or graceMs──▶ closed
 *   add: yes          add: throws                                add: throws
 * ```
 * Adding is decided under the same state that waiting reads: members added before `close()` are waited for, and no
 * member is added later.
 */
export class ConnectionGroup implements MemberObserver {
  /** all members that have not closed, or whose procedures have not returned */
  readonly #members = new Set<GroupMember>()
  readonly #drainListeners = new Set<(graceMs: number) => void>()
  #state: 'open' | 'draining' | 'closed' = 'open'
  #closing: Promise<CloseResult> | undefined

  get state(): 'open' | 'draining' | 'closed' {
    return this.#state
  }

  /** connections that have not closed */
  connections = 0

  /** queries and mutations whose procedure has not returned, or that this process makes and awaits */
  get calls(): number {
    let calls = 0
    for (const member of this.#members) calls += member.activeCalls
    return calls
  }

  /**
   * Counts a connection until it closes.
   * @throws RpcError `SERVICE_UNAVAILABLE` (draining) after `close()` was called
   */
  add(member: GroupMember): void {
    if (this.#state !== 'open') {
      throw transportError('draining', `the connection group is ${this.#state}`, { mayHaveRun: false })
    }
    this.#members.add(member)
    this.connections++
    member.observeClose(this)
  }

  /** Calls `listener` with the grace when {@link close} begins. Returns a function that takes the listener away. */
  onDrain(listener: (graceMs: number) => void): () => void {
    this.#drainListeners.add(listener)
    return () => void this.#drainListeners.delete(listener)
  }

  /** Called by a member of this group. */
  onMemberClosed(member: GroupMember): void {
    this.connections--
    void member.whenReleased().then(() => this.#members.delete(member))
  }

  /**
   * Asks the clients to move, lets calls in flight end with their responses, and rejects later calls. A client closes
   * its connection after the move; a connection that stays is closed with 1001 after 2 s or with its last call.
   * Calls that run after `graceMs` are aborted and cut off. Resolves when nothing is left; a second call returns the
   * same promise.
   * @param graceMs longest run of calls in flight, and longest delivery of their responses (default 30 s; Infinity is
   *   24.8 days)
   * @throws RpcError `BAD_REQUEST` (config_invalid) for NaN and below 0; nothing is closed then
   */
  close({ graceMs = times.graceMs }: { graceMs?: number } = {}): Promise<CloseResult> {
    this.#closing ??= this.#close(timeoutOf('graceMs', graceMs))
    return this.#closing
  }

  async #close(graceMs: number): Promise<CloseResult> {
    this.#state = 'draining'
    const members = [...this.#members]
    const inFlight = this.calls
    for (const member of members) member.drain()
    for (const listener of this.#drainListeners) listener(graceMs)
    const grace = timer(graceMs)
    const graceEndsAt = now() + graceMs
    const settled = timer(Math.min(times.settleMs, graceMs))
    const goingAway = { code: closeCodes.goingAway, message: 'the server shuts down', reason: 'draining' } as const
    const ended = Promise.all(
      members.map(async member => {
        await Promise.all([member.whenIdle(), Promise.race([settled.over, member.closed])])
        member.close(goingAway, graceEndsAt - now())
        await member.closed
        await member.whenReleased()
      }),
    )
    const outcome = await Promise.race([ended.then(() => 'ended' as const), grace.over])
    grace.stop()
    settled.stop()
    const aborted = outcome === 'ended' ? 0 : this.calls
    if (outcome !== 'ended') {
      for (const member of this.#members) {
        member.abortCalls()
        member.close(goingAway)
      }
      // The responses above leave in the next turn, or in the one after where the time of this turn is spent; a peer
      // that takes no more is cut off.
      for (let turn = 0; turn < 2; turn++) await new Promise(resolve => setImmediate(resolve))
      for (const member of this.#members) member.terminate(goingAway)
      await Promise.all(members.map(member => member.closed))
      // A procedure that ignores its signal cannot be ended; the wait is short, and then the procedure is left behind.
      const patience = timer(times.abortGraceMs)
      await Promise.race([ended, patience.over])
      patience.stop()
    }
    this.#state = 'closed'
    stragglersOf(this).stop()
    return { drained: inFlight - aborted, aborted }
  }
}

/** `over` resolves when the time is over, or no caller waits any more. */
function timer(ms: number): { over: Promise<'over'>; stop(): void } {
  let stop = () => {}
  const over = new Promise<'over'>(resolve => {
    const handle = setTimeout(resolve, ms, 'over')
    stop = () => {
      clearTimeout(handle)
      resolve('over')
    }
  })
  return { over, stop }
}
