import type { PurgedDaemons } from '../../../shared/contract/admin/users.js'
import { erasure as limits } from '../../../shared/contract/limits.js'
import type { ChangeStore, ErasureState, OutboxErasureStore, UnreachedDaemon } from '../../store/store.js'
import { signals } from '../signals.js'

/** Which daemons have erased a user. */
export interface ReachedDaemons {
  /**
   * Waits until every connected daemon has confirmed an erasure, until a time of `performance.now()` at most, and
   * returns which daemons have.
   */
  await(erasureId: string, untilMs: number, signal: AbortSignal | undefined): Promise<PurgedDaemons>
}

/** Settings of {@link createReachedDaemons}. */
export interface ReachedDaemonsOptions {
  store: Pick<OutboxErasureStore, 'readErasure'> & ChangeStore
  now?: () => Date
}

/** Creates {@link ReachedDaemons}. */
export function createReachedDaemons({ store, now = () => new Date() }: ReachedDaemonsOptions): ReachedDaemons {
  async function read(erasureId: string): Promise<ErasureState> {
    const at = now().getTime()
    return store.readErasure(erasureId, {
      seenSince: new Date(at - limits.outboxDays * dayMs),
      memorySeenSince: new Date(at - limits.memoryOutboxDays * dayMs),
      connectedSince: new Date(at - limits.connectedMs),
    })
  }

  return {
    async await(erasureId, untilMs, signal) {
      const late = new AbortController()
      const timer = setTimeout(() => late.abort(), untilMs - performance.now())
      const over = signal ? AbortSignal.any([signal, late.signal]) : late.signal
      try {
        let state = await read(erasureId)
        if (!isWaitedFor(state) || over.aborted) return reportOf(state, now())
        for await (const _ of signals(listener => store.onChange('erasure_confirmations', listener), over)) {
          state = await read(erasureId)
          if (!isWaitedFor(state)) break
        }
        return reportOf(state, now())
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

const dayMs = 86_400_000

function isWaitedFor({ unreached }: ErasureState): boolean {
  return unreached.some(({ isConnected }) => isConnected)
}

/** Reports one line for each key: a daemon may have left several outboxes. The newest sight of any counts. */
function reportOf({ confirmed, records, unreached }: ErasureState, now: Date): PurgedDaemons {
  const byKey = new Map<string | null, PurgedDaemons['unreached'][number]>()
  for (const daemon of unreached) {
    const { daemonKeyId, name } = daemon
    const lastSeenAt = lastSeen(daemon, now)
    const known = byKey.get(daemonKeyId)
    if (!known || known.lastSeenAt < lastSeenAt) byKey.set(daemonKeyId, { daemonKeyId, name, lastSeenAt })
  }
  return { reached: confirmed, records, unreached: [...byKey.values()] }
}

/** The row of a connected daemon is renewed now and then only. */
function lastSeen({ isConnected, lastSeenAt }: UnreachedDaemon, now: Date): Date {
  return isConnected && lastSeenAt < now ? now : lastSeenAt
}
