/** The JSON-RPC errors of the agent behind `/acp`. */
import type { ChatError } from '../../../shared/contract/chats.js'
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'

/** The numbers of JSON-RPC errors of this agent. */
export const codes = {
  invalidParams: -32_602,
  methodNotFound: -32_601,
  internalError: -32_603,
  unknownSession: -32_002,
  versionRejected: -32_022,
  cancelled: -32_800,
} as const

/** A JSON-RPC error of this agent; the message is meant for the client. */
export class AgentError extends Error {
  readonly rpcCode: number

  constructor(rpcCode: number, message: string) {
    super(message)
    this.rpcCode = rpcCode
  }
}

/** Reasons for which the same prompt may succeed later. */
const retryable: ReadonlySet<string> = new Set(['too_many_attempts', 'rate_limited', 'internal'])

/** The error of a failed turn; `retryable` goes into the data of the response. */
export class TurnFailed extends RpcError<string> {
  readonly retryable: boolean

  constructor({ reason, message }: ChatError) {
    super('INTERNAL_SERVER_ERROR', message, { reason })
    this.retryable = retryable.has(reason)
  }
}

/** Returns the error for a session that is none of the connection's user. */
export function unknownSession(): AgentError {
  return new AgentError(codes.unknownSession, 'no session of yours has this id')
}

/** Whether an error is the client's own, and no fault of the server. */
export function isExpected(error: unknown): boolean {
  return error instanceof AgentError || errorReasonOf(error) !== undefined
}

/** Returns the `error` of a response. Logs an error of the server itself, of which the client learns nothing. */
export function rpcErrorOf(error: unknown, logger: Logger): { code: number; message: string; data?: object } {
  if (error instanceof AgentError) return { code: error.rpcCode, message: error.message }
  const { code, message, reason } = RpcError.from(error)
  if (error instanceof TurnFailed) {
    return { code: codes.internalError, message, data: { reason, retryable: error.retryable } }
  }
  if (reason === 'unknown_chat') return rpcErrorOf(unknownSession(), logger)
  if (code === 'INTERNAL_SERVER_ERROR') {
    logger.error({ err: error }, 'a request of an ACP client failed')
    return { code: codes.internalError, message: 'the server failed; the cause is in its log' }
  }
  const isInput = code === 'BAD_REQUEST' || code === 'NOT_FOUND' || code === 'CONFLICT'
  return { code: isInput ? codes.invalidParams : codes.internalError, message, ...(reason && { data: { reason } }) }
}
