import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import type { confirmErasuresInput, retireOutboxInput, watchErasuresInput } from '../../../shared/contract/erasures.js'
import { erasure as limits, retention } from '../../../shared/contract/limits.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import type {
  ChangeStore,
  ConversationStore,
  Erasure,
  ErasureStore,
  OutboxErasureStore,
  PurgeStore,
} from '../../store/store.js'
import type { DaemonIdentity } from '../identity.js'
import { afterChange } from '../partial-change.js'
import { signals } from '../signals.js'
import { unknownRow } from '../unknown-row.js'

type Caller = Pick<DaemonIdentity, 'daemonKeyId'>

/** Erasures on their way to the outboxes of daemons. */
export interface Erasures {
  /**
   * Yields the erasures that an outbox has not confirmed, at first those that were made while it was away, then each
   * new one, whichever server purges. Only so many are under way at once: more follow when some are confirmed.
   */
  watch(
    input: z.output<typeof watchErasuresInput>,
    caller: Caller,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Erasure, void, void>
  /**
   * Notes that an outbox has erased users. Records that its daemon handed over after the purge had ended are erased
   * first, so a confirmation means that nothing of the user is left, neither there nor here.
   * @throws RpcError `NOT_FOUND` (unknown_row) for an outbox that no daemon with this key has watched
   */
  confirm(
    input: z.output<typeof confirmErasuresInput>,
    caller: Caller,
    signal: AbortSignal | undefined,
  ): Promise<Record<string, never>>
  /** Notes that an outbox is empty and its daemon ends: purges need not reach it until it is watched again. */
  retire(input: z.output<typeof retireOutboxInput>, caller: Caller): Promise<Record<string, never>>
}

/** Settings of {@link createErasures}. */
export interface ErasuresOptions {
  store: OutboxErasureStore &
    Pick<ErasureStore, 'eraseInterceptionsOf'> &
    Pick<ConversationStore, 'eraseConversationsOf'> &
    Pick<PurgeStore, 'eraseUser'> &
    ChangeStore
  logger: Logger
  now?: () => Date
}

/** Creates {@link Erasures}. */
export function createErasures({ store, logger, now = () => new Date() }: ErasuresOptions): Erasures {
  /** wakes the watches that have given all they may, by outbox */
  const full = new Map<string, () => void>()

  async function eraseLate({ erasureId, userId }: Erasure, signal: AbortSignal | undefined): Promise<void> {
    const total = { interceptions: 0, records: 0 }
    for (;;) {
      signal?.throwIfAborted()
      const erased = await store.eraseInterceptionsOf({ initiatorId: userId, limit: retention.batchInterceptions })
      total.interceptions += erased.interceptions
      total.records += erased.records
      await store.eraseConversationsOf({ userId, limit: retention.batchConversations })
      // An interception that a writer has locked is left out of a batch, and the user is not erased then.
      if (erased.interceptions === 0 && (await store.eraseUser(userId))) break
      await abortablePause(retention.pauseMs, signal)
    }
    if (total.interceptions > 0) {
      logger.info({ erasureId, ...total }, 'records that a daemon had handed over after a purge were erased')
    }
  }

  return {
    async *watch({ outboxId, isDurable }, { daemonKeyId = null }, signal) {
      const watch = randomUUID()
      let given = new Set<string>()
      let wake = () => {}
      const subscribe = (listener: () => void) => {
        wake = listener
        return store.onChange('erasures', listener)
      }
      const setFull = (isFull: boolean) => {
        if (isFull) full.set(outboxId, wake)
        else if (full.get(outboxId) === wake) full.delete(outboxId)
      }
      let notedAt = Number.NEGATIVE_INFINITY
      try {
        for await (const _ of signals(subscribe, signal, limits.noteMs)) {
          if (performance.now() - notedAt > limits.noteMs / 2) {
            await store.recordOutboxWatched({ outboxId, daemonKeyId, isDurable }, { watch, at: now() })
            notedAt = performance.now()
          }
          const open = await store.listErasures({ outboxId, limit: limits.maxUnconfirmed })
          setFull(open.length === limits.maxUnconfirmed)
          for (const erasure of open) if (!given.has(erasure.erasureId)) yield erasure
          given = new Set(open.map(({ erasureId }) => erasureId))
        }
      } finally {
        setFull(false)
        await store.recordOutboxLeft(outboxId, { watch, at: now() }).catch((error: unknown) => {
          logger.warn({ err: error }, 'the end of a watch for erasures could not be stored')
        })
      }
    },

    async confirm({ outboxId, erasures }, { daemonKeyId = null }, signal) {
      const outbox = { outboxId, daemonKeyId }
      const late = await store.confirmErasures(outbox, { erasures })
      if (!late) throw unknownRow('outbox', outboxId)
      if (late.length > 0) {
        await afterChange(async () => {
          for (const erasure of late) await eraseLate(erasure, signal)
          const ids = new Set(late.map(({ erasureId }) => erasureId))
          const rest = erasures.filter(({ erasureId }) => ids.has(erasureId))
          await store.confirmErasures(outbox, { erasures: rest, areRecordsErased: true })
        })
      }
      full.get(outboxId)?.()
      return {}
    },

    async retire({ outboxId }, { daemonKeyId = null }) {
      await store.recordOutboxEmpty({ outboxId, daemonKeyId }, now())
      return {}
    },
  }
}
