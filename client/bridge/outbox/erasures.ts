import type { Erasure } from '../../../shared/contract/erasures.js'
import { type BridgeLimits, erasure as limits } from '../../../shared/contract/limits.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import type { ControlPlane } from '../control-plane/control-plane.js'
import { isClosedForGood } from '../wire/rejection.js'
import type { Outbox } from './outbox.js'

/** Options of {@link watchErasures}. */
export interface ErasureWatchOptions {
  client: Pick<ControlPlane, 'recorder'>
  outbox: Outbox
  logger: Logger
  limits: Pick<BridgeLimits, 'outboxRetryMinMs' | 'outboxRetryMaxMs'>
}

/** The watch of a daemon for users who are erased. */
export interface ErasureWatch {
  /** Ends the watch. Resolves when no call is left. */
  stop(): Promise<void>
  /** Reports that nothing of any user is left in the closed outbox, if that is so: purges need not reach it then. */
  retire(): Promise<void>
}

/**
 * Pause before a new subscription when the control plane has ended one with an error. A lost connection does not end
 * it.
 */
const againAfterMs = 1_000

/** Longest wait of a daemon that ends for a report that only saves a line in later purges. */
const retireTimeoutMs = 1_000

/** Erasures in memory: some are confirmed and not yet dropped while the control plane gives the next ones. */
const maxReceived = 10 * limits.maxUnconfirmed

/**
 * Removes the records of erased users from an outbox, and confirms each erasure when nothing is left there. What fails
 * is tried again until the link is closed for good.
 */
export function watchErasures(options: ErasureWatchOptions): ErasureWatch {
  const { client, outbox, logger } = options
  const { id: outboxId, isDurable } = outbox
  /** erasures that are not confirmed, by id, with the number of records that were removed */
  const received = new Map<string, { userId: string; records: number }>()
  const stopped = new AbortController()
  const { signal } = stopped
  let working: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let subscription: { unsubscribe(): void } | undefined

  async function work(): Promise<void> {
    await undefined // erasures that come together share a pass over the outbox
    let delayMs = options.limits.outboxRetryMinMs
    while (received.size > 0 && !signal.aborted) {
      const batch = [...received].slice(0, limits.maxUnconfirmed)
      try {
        const removed = new Map(await outbox.erase(new Set(batch.map(([, { userId }]) => userId))))
        for (const [, erasure] of batch) {
          erasure.records += removed.get(erasure.userId) ?? 0
          removed.delete(erasure.userId)
        }
        const erasures = batch.map(([erasureId, { records }]) => ({ erasureId, records }))
        await client.recorder.confirmErasures.mutate({ outboxId, erasures }, { signal })
        for (const [erasureId] of batch) received.delete(erasureId)
        const records = erasures.reduce((sum, erasure) => sum + erasure.records, 0)
        logger.info({ users: batch.length, records }, 'the records of erased users were removed from the outbox')
        delayMs = options.limits.outboxRetryMinMs
      } catch (error) {
        if (signal.aborted || isClosedForGood(error)) return
        logger.warn({ err: error, delayMs }, 'an erasure of users is not confirmed; it is tried again')
        await abortablePause(delayMs, signal)
        delayMs = Math.min(2 * delayMs, options.limits.outboxRetryMaxMs)
      }
    }
  }

  const onData = ({ erasureId, userId }: Erasure) => {
    if (received.has(erasureId) || received.size >= maxReceived) return
    received.set(erasureId, { userId, records: 0 })
    working ??= work().finally(() => {
      working = undefined
    })
  }
  const again = (error?: unknown) => {
    // On a link that is closed for good, no subscription begins any more.
    if (signal.aborted || isClosedForGood(error)) return
    logger.warn({ err: error }, 'erasures of users are not received; asking for them again')
    timer = setTimeout(subscribe, againAfterMs)
  }
  function subscribe(): void {
    const handlers = { onData, onError: again, onComplete: again }
    subscription = client.recorder.watchErasures.subscribe({ outboxId, isDurable }, handlers)
  }
  subscribe()

  return {
    async stop() {
      stopped.abort(new Error('the daemon ends'))
      clearTimeout(timer)
      subscription?.unsubscribe()
      await working
    },
    async retire() {
      if (!outbox.isEmpty) return
      const late = new AbortController()
      const timer = setTimeout(() => late.abort(), retireTimeoutMs)
      try {
        await client.recorder.retireOutbox.mutate({ outboxId }, { signal: late.signal })
      } catch (error) {
        logger.debug({ err: error }, 'the empty outbox could not be reported')
      } finally {
        clearTimeout(timer)
      }
    },
  }
}
