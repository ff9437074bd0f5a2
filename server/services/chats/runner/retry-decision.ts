/** The decision behind a failed call of the model, by status and cause. */
import type { ChatError, ChatErrorReason } from '../../../../shared/contract/chats.js'
import { chatLimits } from '../../../../shared/contract/limits.js'
import type { ModelError, ModelErrorReason } from '../../../../shared/contract/model-error.js'

/** Another attempt after `waitMs`, or the failure of the turn. */
export type RetryDecision = { kind: 'retry'; waitMs: number } | { kind: 'fail'; error: ChatError }

/** Bounds of waits between attempts. */
export type RetryLimits = Record<'maxAttempts' | 'maxRetryAfterMs' | 'retryMinMs' | 'retryMaxMs', number>

/** Reason of a failed call → reason of the failed turn. An absent provider is tried until the attempts are used up. */
const reasons: Readonly<Record<ModelErrorReason, ChatErrorReason>> = {
  rate_limited: 'rate_limited',
  billing: 'billing',
  rejected: 'rejected',
  context_too_long: 'context_too_long',
  not_allowed: 'not_allowed',
  unknown_provider: 'unknown_provider',
  unavailable: 'rejected',
}

/**
 * Decides about the next attempt: 1 s · 2ⁿ up to 60 s, of which up to a half is left to chance, or the wait that the
 * provider names. A longer one than 60 s fails the turn with the time, and so does the eighth failed attempt.
 * @param attempt the number of the failed attempt, from 1
 * @param random a number from 0 to 1
 */
export function decideRetry(
  error: Pick<ModelError, 'kind' | 'reason' | 'message' | 'status' | 'retryAfterMs'>,
  attempt: number,
  now: Date,
  random: number,
  limits: RetryLimits = chatLimits,
): RetryDecision {
  const { retryAfterMs, message, status } = error
  const facts = { message, ...(status !== undefined && { status }) }
  const retryAt = retryAfterMs === undefined ? {} : { retryAt: new Date(now.getTime() + retryAfterMs) }
  if (error.kind !== 'retryable')
    return { kind: 'fail', error: { reason: reasons[error.reason], ...facts, ...retryAt } }
  if (retryAfterMs !== undefined && retryAfterMs > limits.maxRetryAfterMs) {
    return { kind: 'fail', error: { reason: 'rate_limited', ...facts, ...retryAt } }
  }
  if (attempt >= limits.maxAttempts) return { kind: 'fail', error: { reason: 'too_many_attempts', ...facts } }
  if (retryAfterMs !== undefined) return { kind: 'retry', waitMs: Math.max(limits.retryMinMs, retryAfterMs) }
  const backoffMs = Math.min(limits.retryMaxMs, limits.retryMinMs * 2 ** (attempt - 1))
  return { kind: 'retry', waitMs: backoffMs / 2 + (random * backoffMs) / 2 }
}
