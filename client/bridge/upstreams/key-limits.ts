/** Waits of limited keys, and the rejections of requests for which no key is left. */
import { Rejection } from '../wire/rejection.js'
import type { KeyChoice } from './key-ring.js'

/** Returns the rejection of a request for which no key is left. */
export function withoutKey(choice: KeyChoice): Rejection {
  if (!choice.key && choice.reason === 'out') {
    return new Rejection(502, 'keys_rejected', 'the provider rejects every key that is configured for it')
  }
  const retryAfterSeconds = wholeSeconds(choice.key ? 0 : choice.waitMs)
  const message = `every key of the provider is limited; try again in ${retryAfterSeconds} s`
  return new Rejection(429, 'keys_limited', message, { retryAfterSeconds })
}

/** Returns a wait in whole seconds, at least one. */
export function wholeSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000))
}

/** Time for which a key is left alone after a 429 that names none. */
const defaultCoolingMs = 60_000

/** Longest time for which a key is left alone: a provider that names more may be mistaken. */
const maxCoolingMs = 86_400_000

/**
 * Returns how long a key is left alone after a 429.
 * @param retryAfter the header of the response, in whole seconds
 */
export function coolingMs(retryAfter: string | undefined): number {
  return /^\d{1,15}$/.test(retryAfter ?? '') ? Math.min(Number(retryAfter) * 1000, maxCoolingMs) : defaultCoolingMs
}
