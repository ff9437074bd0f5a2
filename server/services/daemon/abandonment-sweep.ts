import { abandonment as limits, presence as presenceLimits } from '../../../shared/contract/limits.js'
import type { Logger } from '../../../shared/values/log.js'
import type { AbsentDaemon, DaemonInstanceStore } from '../../store/store.js'
import type { AbandonedInterceptions } from './abandoned-interceptions.js'

/**
 * Ends interceptions whose daemon is gone: not connected for a day to any server, or declared gone by its successor.
 * So are interceptions that name no daemon and began a day ago.
 *
 * A daemon that seems to be gone is looked at twice, {@link presenceLimits.lostMs} apart by a clock that cannot jump.
 * Every server that has a connection to the daemon renews its row meanwhile, so a jump of the clock, an absence of all
 * servers or of the database ends no interception of a connected daemon.
 *
 * A run begins soon after the start and then every hour. Several servers may run at once: each interception gets one
 * end. A failed run is logged and tried again.
 */
export interface AbandonmentSweep {
  start(): void
  /** Makes the next run come soon. */
  hurry(): void
  /** Resolves when the transaction under way has ended; no timer is left. */
  stop(): Promise<void>
}

/** Settings of {@link createAbandonmentSweep}. */
export interface AbandonmentSweepOptions {
  store: Pick<DaemonInstanceStore, 'recordUnnotedDaemons' | 'listAbsentDaemons' | 'forgetDaemons'>
  abandoned: Pick<AbandonedInterceptions, 'endOf' | 'endUnnamed'>
  logger: Logger
  /** absence after which a daemon is gone; default a day */
  interceptionAbandonedAfterMs?: number
  now?: () => Date
}

/** Creates an {@link AbandonmentSweep}. */
export function createAbandonmentSweep(options: AbandonmentSweepOptions): AbandonmentSweep {
  const { store, abandoned, logger, now = () => new Date() } = options
  const { interceptionAbandonedAfterMs = limits.interceptionAbandonedAfterMs } = options
  const stopped = new AbortController()
  const { signal } = stopped
  let timer: NodeJS.Timeout | undefined
  /** the time of the next run; during a run, of the run that was asked for meanwhile */
  let dueAt = Number.POSITIVE_INFINITY
  let running: Promise<void> | undefined
  /** daemons that seemed to be gone, by instance: the time of their row, and when this sweep first saw that row */
  let suspects = new Map<string, { lastSeenAt: number; since: number }>()
  /** of interceptions that name no daemon: the bound that the last run found, and that before which all have ended */
  const unnamed: { startedBefore?: Date; endedBefore?: Date } = {}

  async function run(): Promise<void> {
    timer = undefined
    dueAt = Number.POSITIVE_INFINITY
    let nextMs: number = limits.intervalMs
    try {
      const notSeenSince = new Date(now().getTime() - interceptionAbandonedAfterMs)
      await endOfDaemons(notSeenSince)
      await endUnnamed(notSeenSince)
      await store.forgetDaemons({ notSeenSince })
      if (suspects.size > 0) nextMs = presenceLimits.lostMs
    } catch (error) {
      logger.error({ err: error }, 'interceptions of daemons that are gone could not be ended; it is tried again')
      nextMs = limits.retryMs
      // Nor could servers note that daemons are back.
      suspects = new Map()
    }
    running = undefined
    scheduleAt(Math.min(dueAt, performance.now() + nextMs))
  }

  async function endOfDaemons(notSeenSince: Date): Promise<void> {
    const at = now()
    await store.recordUnnotedDaemons(at)
    const absent = await store.listAbsentDaemons({ notSeenSince, at, limit: limits.maxDaemons })
    const next: typeof suspects = new Map()
    for (const daemon of absent) {
      if (signal.aborted) return
      const since = firstSeen(daemon)
      if (isGone(daemon, since)) await abandoned.endOf(daemon, signal)
      else next.set(daemon.daemonInstance, { lastSeenAt: daemon.lastSeenAt.getTime(), since })
    }
    suspects = next
  }

  /** Returns when this sweep first saw the daemon with the time that its row has now. */
  function firstSeen({ daemonInstance, lastSeenAt }: AbsentDaemon): number {
    const known = suspects.get(daemonInstance)
    return known?.lastSeenAt === lastSeenAt.getTime() ? known.since : performance.now()
  }

  function isGone({ isConnected, isDeclaredGone }: AbsentDaemon, since: number): boolean {
    return (isDeclaredGone && !isConnected) || performance.now() - since >= presenceLimits.lostMs
  }

  async function endUnnamed(startedBefore: Date): Promise<void> {
    const { startedBefore: last, endedBefore } = unnamed
    unnamed.startedBefore = startedBefore
    // The clock may be ahead now, or may have been at the last run.
    const before = last && (last < startedBefore ? last : startedBefore)
    if (!before) return
    const startedFrom = endedBefore && new Date(endedBefore.getTime() - limits.lateMs)
    await abandoned.endUnnamed({ startedFrom, startedBefore: before }, signal)
    if (!signal.aborted) unnamed.endedBefore = before
  }

  function scheduleAt(time: number): void {
    dueAt = time
    if (signal.aborted || running) return
    clearTimeout(timer)
    timer = setTimeout(() => {
      running = run()
    }, time - performance.now()).unref()
  }

  return {
    start: () => scheduleAt(performance.now() + limits.firstRunMs),
    hurry: () => scheduleAt(Math.min(dueAt, performance.now() + presenceLimits.lostMs)),
    async stop() {
      stopped.abort()
      clearTimeout(timer)
      await running
    },
  }
}
