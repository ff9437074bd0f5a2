/**
 * Why calls are not started. A peer can ask for thousands of these errors with one message, and they say nothing of where they were made, so
 * each is made once.
 */
import { type ErrorReason, RpcError } from '../../shared/rpc/errors.js'

export const draining = new RpcError(
  'SERVICE_UNAVAILABLE',
  'the server is draining; call again on another connection',
  {
    reason: 'draining',
    mayHaveRun: false,
  },
)

export const duplicate = new RpcError('CONFLICT', 'a call with this id is in flight', { reason: 'duplicate_id' })

export const cancelledUnstarted = new RpcError('CLIENT_CLOSED_REQUEST', 'the caller cancelled', { mayHaveRun: false })

const invalidRequests = new Map<string, RpcError>()

/** @param problem one of those of `parseClientMessage` */
export function invalidRequest(problem: string): RpcError {
  const known = invalidRequests.get(problem)
  if (known) return known
  const error = new RpcError('PARSE_ERROR', `not a valid request: ${problem}`)
  invalidRequests.set(problem, error)
  return error
}

const tooManys = new Map<string, RpcError>()

/** @param message differs by limit only */
export function tooMany(reason: ErrorReason, message: string): RpcError {
  const known = tooManys.get(message)
  if (known) return known
  const error = new RpcError('TOO_MANY_REQUESTS', message, { reason, mayHaveRun: false })
  tooManys.set(message, error)
  return error
}
