/**
 * Errors of calls that are not started. One message of a peer can provoke thousands of these errors, and their stacks
 * say nothing about the peer, so each error is made once.
 */
import { RpcError, transportError } from '../../shared/rpc/errors.js'

/** Rejects calls that arrive at a draining server, and held calls of one. */
export const draining = transportError('draining', 'the server is draining; call again on another connection', {
  mayHaveRun: false,
})

/** Rejects a call whose id is in use. */
export const duplicate = transportError('duplicate_id', 'a call with this id is in flight', { mayHaveRun: false })

/** Ends a held call after a cancel. */
export const cancelledUnstarted = new RpcError('CLIENT_CLOSED_REQUEST', 'the caller cancelled', { mayHaveRun: false })

const invalidRequests = new Map<string, RpcError>()

/**
 * Returns the error for a message that is no valid request.
 * @param problem a problem of `parseClientMessage`, which has a fixed set of problems
 */
export function invalidRequest(problem: string): RpcError {
  const known = invalidRequests.get(problem)
  if (known) return known
  const error = new RpcError('PARSE_ERROR', `not a valid request: ${problem}`, { mayHaveRun: false })
  invalidRequests.set(problem, error)
  return error
}

const limitErrors = new Map<string, RpcError>()

/**
 * Returns the error for a call above a limit.
 * @param message the same for every call above the same limit
 */
export function tooMany(reason: 'too_many_calls' | 'too_many_subscriptions', message: string): RpcError {
  const known = limitErrors.get(message)
  if (known) return known
  const error = transportError(reason, message, { mayHaveRun: false })
  limitErrors.set(message, error)
  return error
}
