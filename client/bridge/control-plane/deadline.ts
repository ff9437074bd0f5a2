import { controlPlaneUnreachable } from '../wire/rejection.js'

/**
 * Runs calls to the control plane within a deadline.
 * @param run gets a signal that aborts with `signal`, and at the deadline with the rejection 503
 * @throws the error of `run`
 */
export async function withinDeadline<T>(
  timeoutMs: number,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new AbortController()
  const forward = () => deadline.abort(signal.reason)
  const timer = setTimeout(() => {
    const message = `the control plane did not respond within ${timeoutMs.toLocaleString('en')} ms`
    deadline.abort(controlPlaneUnreachable(new Error(message)))
  }, timeoutMs)
  if (signal.aborted) forward()
  signal.addEventListener('abort', forward, { once: true })
  try {
    return await run(deadline.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', forward)
  }
}
