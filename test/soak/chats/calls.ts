/** Calls of the procedures of chats that are repeated until a server has served them. */
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'

/** Repeats a call that got no response, or that a server could not serve. Rejects with any other error. */
export async function repeated<T>(call: () => Promise<T>): Promise<T> {
  for (let left = 200; ; left--) {
    try {
      return await call()
    } catch (error) {
      if (left === 0 || !passing.has(errorCodeOf(error) ?? 'CONNECTION')) throw error
    }
    await pause(100)
  }
}

const passing = new Set([
  'CONNECTION',
  'SERVICE_UNAVAILABLE',
  'TIMEOUT',
  'INTERNAL_SERVER_ERROR',
  'CLIENT_CLOSED_REQUEST',
])

/** Returns whether a call was taken: false if the chat, or its message, was not in a state for it any more. */
export async function taken(call: Promise<unknown>): Promise<boolean> {
  try {
    await call
    return true
  } catch (error) {
    if (!late.has(errorReasonOf(error) ?? '')) throw error
    return false
  }
}

const late = new Set<string>(['unknown_message', 'chat_idle', 'chat_busy'])

/** Resolves after a time. */
export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
