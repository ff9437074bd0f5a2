import { transportError } from './errors.js'

/** setTimeout's largest delay, 24.8 days; a longer delay fires at once. */
export const longestTimeoutMs = 2 ** 31 - 1

/**
 * Checks an option that is a time, and returns a delay for a timer. Infinity, and any time above a timer's largest
 * delay, becomes the largest delay.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for NaN and below `minMs`
 */
export function timeoutOf(name: string, ms: number, minMs = 0): number {
  if (ms >= minMs) return Math.min(ms, longestTimeoutMs)
  throw transportError('config_invalid', `${name} must be a number of milliseconds, ${minMs} or more, and is ${ms}`)
}
