/**
 * Why calls are not started. A peer can ask for thousands of these errors with one message, and they say nothing of where they were made, so
 * each is made once.
 */
import { RpcError, transportError } from '../../shared/rpc/errors.js'

export const draining = transportError('draining', 'the server is draining; call again on another connection', {
  mayHaveRun: false,
})

export const duplicate = transportError('duplicate_id', 'a call with this id is in flight')

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
export function tooMany(reason: 'too_many_calls' | 'too_many_subscriptions', message: string): RpcError {
  const known = tooManys.get(message)
  if (known) return known
  const error = transportError(reason, message, { mayHaveRun: false })
  tooManys.set(message, error)
  return error
}
