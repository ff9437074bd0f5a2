/** How a failure ends a command: text for people, JSON for programs, an exit code. */
import { CommanderError } from 'commander'
import { RpcError } from '../../../shared/rpc/errors.js'
import { visible } from '../../process/output.js'

/** The failure of a command, as one line of JSON on stderr. */
export interface Failure {
  code: string
  reason: string | null
  message: string
}

/**
 * Returns the failure and the exit code for a thrown error. The messages of an {@link RpcError} and of a usage error
 * are meant for the user. Any other error is a fault of aibridge.
 */
export function failureOf(thrown: unknown): { failure: Failure; exitCode: 1 | 3 } {
  if (thrown instanceof RpcError) {
    return {
      failure: { code: thrown.code, reason: thrown.reason ?? null, message: thrown.message },
      exitCode: thrown.reason === 'server_unreachable' ? 3 : 1,
    }
  }
  if (thrown instanceof CommanderError) {
    return { failure: { code: 'BAD_REQUEST', reason: null, message: thrown.message }, exitCode: 1 }
  }
  const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown)
  return { failure: { code: 'INTERNAL_SERVER_ERROR', reason: null, message }, exitCode: 1 }
}

/**
 * Returns a failure as text for a terminal: the message, then the reason or the code, under which the documents list
 * the error.
 */
export function failureText({ code, reason, message }: Failure): string {
  const isUsageError = code === 'BAD_REQUEST' && reason === null
  return isUsageError ? `error: ${visible(message)}` : `error: ${visible(message)} (${reason ?? code})`
}
