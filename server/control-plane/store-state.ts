import type { Logger } from '../../shared/values/log.js'
import type { Store } from '../store/store.js'

/** Whether the store takes writes. */
export type StoreState = 'ok' | 'does not answer'

/** Returns a function that checks the store, at most once a second. Never rejects. */
export function storeStateReader(store: Store, logger: Logger): () => Promise<StoreState> {
  return shared(storeStateTtlMs, () => stateOf(store, logger))
}

/** One write a second is the most that checks of readiness cost a store. */
const storeStateTtlMs = 1_000

/** Returns a function that reads at most once in a time, and never twice at once; other calls share the result. */
function shared<T>(ttlMs: number, read: () => Promise<T>): () => Promise<T> {
  let last: { result: Promise<T>; readAt: number; isPending: boolean } | undefined
  return () => {
    const now = performance.now()
    if (last && (last.isPending || now - last.readAt < ttlMs)) return last.result
    const reading = { result: read(), readAt: now, isPending: true }
    const done = () => {
      reading.isPending = false
    }
    reading.result.then(done, done)
    last = reading
    return reading.result
  }
}

/** A slower database counts as not responding. */
const pingTimeoutMs = 5_000

async function stateOf(store: Store, logger: Logger): Promise<StoreState> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no response within ${pingTimeoutMs} ms`)), pingTimeoutMs)
  })
  try {
    await Promise.race([store.ping(), late])
    return 'ok'
  } catch (error) {
    logger.warn({ err: error }, 'the store does not answer')
    return 'does not answer'
  } finally {
    clearTimeout(timer)
  }
}
