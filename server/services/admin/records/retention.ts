import { erasure, retention as limits } from '../../../../shared/contract/limits.js'
import { abortablePause } from '../../../../shared/values/abortable.js'
import type { Logger } from '../../../../shared/values/log.js'
import type { ChatStore, ConversationStore, Erased, ErasureStore, OutboxErasureStore } from '../../../store/store.js'

/**
 * Erases interceptions, with all their records, that started more than `retentionDays` ago and have ended, or started a
 * day earlier still, conversations with injected tools that were last used, and chats at rest that were last changed
 * more than `retentionDays` ago. The feed of records is kept for a week, independent of `retentionDays`; an older
 * watcher gets `event_expired`. Erasures are kept for a year, and outboxes of daemons while their daemons come now and
 * then.
 *
 * A run begins soon after the start and then every hour, in small transactions with pauses between them. Of several
 * servers on one database one erases at a time; the others leave the rest to that server. A failed run is logged and
 * tried again a minute later.
 */
export interface Retention {
  start(): void
  /** Resolves when the transaction under way has ended; no timer is left. */
  stop(): Promise<void>
}

export interface RetentionOptions {
  store: Pick<ErasureStore, 'eraseOldInterceptions' | 'trimFeed'> &
    Pick<ConversationStore, 'eraseOldConversations'> &
    Pick<ChatStore, 'eraseOldChats'> &
    Pick<OutboxErasureStore, 'forgetErasures'>
  logger: Logger
  /** 0: interceptions are kept for ever */
  retentionDays: number
  now?: () => Date
  /** between two transactions */
  pauseMs?: number
}

const dayMs = 86_400_000

export function createRetention(options: RetentionOptions): Retention {
  const { store, logger, retentionDays, now = () => new Date(), pauseMs = limits.pauseMs } = options
  const stopped = new AbortController()
  const { signal } = stopped
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined

  async function run(): Promise<void> {
    let nextMs: number = limits.intervalMs
    try {
      if (retentionDays > 0) {
        await eraseInterceptions()
        await eraseConversations()
        await eraseChats()
      }
      await trimFeed()
      await forgetErasures()
    } catch (error) {
      logger.error({ err: error }, 'old records could not be erased; it is tried again')
      nextMs = limits.retryMs
    }
    schedule(nextMs)
  }

  function schedule(delayMs: number): void {
    if (signal.aborted) return
    timer = setTimeout(() => {
      running = run()
    }, delayMs).unref()
  }

  async function eraseInterceptions(): Promise<void> {
    const startedBefore = daysAgo(retentionDays)
    const unendedBefore = daysAgo(retentionDays + limits.unendedDays)
    const limit = limits.batchInterceptions
    const total: Erased = { interceptions: 0, records: 0 }
    try {
      await inBatches(limit, async () => {
        const erased = await store.eraseOldInterceptions({ startedBefore, unendedBefore, limit })
        if (!erased) return null
        total.interceptions += erased.interceptions
        total.records += erased.records
        return erased.interceptions
      })
    } finally {
      if (total.interceptions > 0) logger.info({ ...total, startedBefore }, 'old interceptions were erased')
    }
  }

  async function eraseConversations(): Promise<void> {
    const usedBefore = daysAgo(retentionDays)
    const limit = limits.batchConversations
    let conversations = 0
    try {
      await inBatches(limit, async () => {
        const erased = await store.eraseOldConversations({ usedBefore, limit })
        conversations += erased
        return erased
      })
    } finally {
      if (conversations > 0) logger.info({ conversations, usedBefore }, 'old conversations were erased')
    }
  }

  async function eraseChats(): Promise<void> {
    const updatedBefore = daysAgo(retentionDays)
    const limit = limits.batchChats
    let chats = 0
    try {
      await inBatches(limit, async () => {
        const erased = await store.eraseOldChats({ updatedBefore, limit })
        chats += erased
        return erased
      })
    } finally {
      if (chats > 0) logger.info({ chats, updatedBefore }, 'old chats were erased')
    }
  }

  async function trimFeed(): Promise<void> {
    const notedBefore = daysAgo(limits.feedRetentionDays)
    const limit = limits.batchFeedRows
    await inBatches(limit, () => store.trimFeed({ notedBefore, limit }))
  }

  async function forgetErasures(): Promise<void> {
    if (signal.aborted) return
    const { keptDays, outboxDays } = erasure
    await store.forgetErasures({ begunBefore: daysAgo(keptDays), outboxesSeenBefore: daysAgo(outboxDays) })
  }

  /** Until a batch is not full, or another process erases (null). */
  async function inBatches(limit: number, batch: () => Promise<number | null>): Promise<void> {
    while (!signal.aborted && (await batch()) === limit) await abortablePause(pauseMs, signal)
  }

  function daysAgo(days: number): Date {
    return new Date(now().getTime() - days * dayMs)
  }

  return {
    start: () => schedule(limits.firstRunMs),
    async stop() {
      stopped.abort()
      clearTimeout(timer)
      await running
    },
  }
}
