import type { Logger } from '../../../shared/values/log.js'
import type { ApiKeyStore } from '../../store/store.js'

/** Stores when API keys were last used, to the minute, and never on the path of a request. */
export interface KeyUse {
  /**
   * Notes that a key is in use now. Returns at once and never throws. The store is written a moment later, together
   * with other keys, and at most once a minute for each key.
   * @param lastUsedAt the stored time: another server may have written it
   */
  note(id: string, lastUsedAt: Date | null): void
  /** Stores pending notes. Resolves when no write and no timer is left; later notes are dropped. */
  stop(): Promise<void>
}

/** Settings of {@link createKeyUse}. */
export interface KeyUseOptions {
  store: Pick<ApiKeyStore, 'recordKeysUsed'>
  logger: Logger
  /** the current time; a test's clock */
  now?: () => Date
  /** from the first pending note to the write; default one second, in which the notes of other keys join it */
  writeAfterMs?: number
}

/** The precision of `lastUsedAt`. */
const usedAgainMs = 60_000

/** Creates a {@link KeyUse}. A write that fails is logged and left: the next use, a minute later, writes again. */
export function createKeyUse({ store, logger, now = () => new Date(), writeAfterMs = 1_000 }: KeyUseOptions): KeyUse {
  /** the last note of each key that was used within the last minute */
  const noted = new Map<string, number>()
  let pending = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  let stopped = false

  function write(): void {
    timer = undefined
    const ids = [...pending]
    pending = new Set()
    const at = now()
    for (const [id, time] of noted) if (at.getTime() - time >= usedAgainMs) noted.delete(id)
    writing = Promise.all([writing, store.recordKeysUsed(ids, at)]).then(
      () => {},
      (error: unknown) => logger.warn({ err: error, keys: ids.length }, 'the last use of API keys could not be stored'),
    )
  }

  return {
    note(id, lastUsedAt) {
      const at = now().getTime()
      const last = Math.max(noted.get(id) ?? 0, lastUsedAt?.getTime() ?? 0)
      if (stopped || at - last < usedAgainMs) return
      noted.set(id, at)
      pending.add(id)
      timer ??= setTimeout(write, writeAfterMs).unref()
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      if (timer) write()
      await writing
    },
  }
}
