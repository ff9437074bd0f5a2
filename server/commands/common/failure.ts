/** How a failure ends a command: text for people, JSON for programs, an exit code. */
import { CommanderError } from 'commander'
import { RpcError } from '../../../shared/rpc/errors.js'
import { visible } from '../../process/output.js'

/** The failure of a command, as one line of JSON on stderr. */
export interface Failure {
  code: string
  reason: string | null
  message: string
  /** whether the change may have been made all the same; null where nothing was to be changed, or the server says no */
  mayHaveRun: boolean | null
}

/**
 * Returns the failure and the exit code for a thrown error. The messages of an {@link RpcError} and of a usage error
 * are meant for the user. Any other error is a fault of aibridge.
 */
export function failureOf(thrown: unknown): { failure: Failure; exitCode: 1 | 3 } {
  if (thrown instanceof RpcError) {
    return {
      failure: {
        code: thrown.code,
        reason: thrown.reason ?? null,
        message: thrown.message,
        mayHaveRun: thrown.mayHaveRun ?? null,
      },
      exitCode: thrown.reason === 'server_unreachable' ? 3 : 1,
    }
  }
  if (thrown instanceof CommanderError) {
    return { failure: { code: 'BAD_REQUEST', reason: null, message: thrown.message, mayHaveRun: null }, exitCode: 1 }
  }
  const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)
  return { failure: { code: 'INTERNAL_SERVER_ERROR', reason: null, message, mayHaveRun: null }, exitCode: 1 }
}

/**
 * Returns a failure as text for a terminal: the message, whether the change may have been made, then the reason or the
 * code, under which the documents list the error.
 */
export function failureText({ code, reason, message, mayHaveRun }: Failure): string {
  const isUsageError = code === 'BAD_REQUEST' && reason === null
  if (isUsageError) return `error: ${visible(message)}`
  const change = mayHaveRun ? '; the change may have been made all the same' : ''
  return `error: ${visible(message)}${change} (${reason ?? code})`
}
