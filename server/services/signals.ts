/** Subscribes to a change: calls back after each change, and returns the function that ends the subscription. */
export type Subscribe = (listener: () => void) => () => void

/**
 * Yields once at first, and then after each change; changes during a busy reader's work are one. Ends when `signal`
 * aborts.
 * @param maxSilenceMs also yields after this time without a change
 */
export async function* signals(
  subscribe: Subscribe,
  signal: AbortSignal | undefined,
  maxSilenceMs?: number,
): AsyncGenerator<void, void, void> {
  let changed = true
  let wake = () => {}
  const note = () => {
    changed = true
    wake()
  }
  const stop = subscribe(note)
  signal?.addEventListener('abort', note)
  const timer = maxSilenceMs === undefined ? undefined : setInterval(note, maxSilenceMs)
  try {
    while (!signal?.aborted) {
      if (changed) {
        changed = false
        yield
      } else {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
    }
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', note)
    stop()
  }
}
