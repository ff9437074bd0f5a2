import { controlPlaneUnreachable } from '../wire/rejection.js'

/**
 * Runs calls to the control plane within a deadline, at which the whole exchange is aborted with the rejection 503: an
 * exchange does nothing else while it waits for the control plane, and an `AbortController` of its own would cost more
 * than the timer (2 µs, and a hidden class for each signal).
 * @param run makes calls that end with the exchange's signal
 * @throws the error of `run`
 */
export async function withinDeadline<T>(
  timeoutMs: number,
  exchange: AbortController,
  run: () => Promise<T>,
): Promise<T> {
  const timer = setTimeout(() => {
    const message = `the control plane did not respond within ${timeoutMs.toLocaleString('en')} ms`
    exchange.abort(controlPlaneUnreachable(new Error(message)))
  }, timeoutMs)
  try {
    return await run()
  } finally {
    clearTimeout(timer)
  }
}
