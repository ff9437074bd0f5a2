import { transportError } from './errors.js'

/** setTimeout's largest delay, 24.8 days: it takes a longer one for none at all. */
export const longestTimeoutMs = 2 ** 31 - 1

/**
 * An option that is a time, as a timer takes it. Infinity, and whatever is longer than a timer can be, is the longest that it can.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for NaN and below `minMs`
 */
export function timeoutOf(name: string, ms: number, minMs = 0): number {
  if (ms >= minMs) return Math.min(ms, longestTimeoutMs)
  throw transportError('config_invalid', `${name} must be a number of milliseconds, ${minMs} or more, and is ${ms}`)
}
