/** The errors of calls to an agent, as services may throw them: an agent speaks for its processes alone. */
import { processReasons } from '../shared/contract/agents.js'
import { errorReasonOf, errorReasons, rpcError } from '../shared/contract/error-reasons.js'
import { processLimits } from '../shared/contract/limits.js'
import { type ErrorCode, RpcError } from '../shared/rpc/errors.js'
import { cutToBytes } from '../shared/values/text.js'
import { converted } from './process-calls.js'

/** Codes of errors without a reason that every router of processes makes. */
const codesWithoutReason: ReadonlySet<ErrorCode> = new Set([
  'BAD_REQUEST',
  'NOT_FOUND',
  'METHOD_NOT_SUPPORTED',
  'PAYLOAD_TOO_LARGE',
  'TOO_MANY_REQUESTS',
  'INTERNAL_SERVER_ERROR',
])

/**
 * Returns the response of an agent. Callers act on reasons and codes: key_invalid stops a client, draining moves it to
 * another server, and a lost link has the call sent again. So an error that the agent sent keeps the reasons of its
 * processes only, and the link's errors are those of this side.
 * @throws RpcError agent_invalid for an error that an agent may not send; agent_unreachable if the agent is closing
 */
export async function ofAgent<T>(call: Promise<T>): Promise<T> {
  try {
    return await converted(call)
  } catch (error) {
    if (!(error instanceof RpcError)) throw error
    throw isOfThisSide(error) ? linkError(error) : sentError(error)
  }
}

/** Returns the error for a response or an error that breaks a rule of the contract. */
export function invalid(kind: 'a response' | 'an error', fault: string): RpcError<'agent_invalid'> {
  const message = `the agent sent ${kind} that breaks a rule: ${cutToBytes(fault, processLimits.maxErrorBytes)}`
  return rpcError('agent_invalid', message, { mayHaveRun: true })
}

/** Whether the client made an error: the cause of such an error is the transport's. */
function isOfThisSide({ cause }: RpcError<string>): boolean {
  return cause instanceof Error && cause.cause instanceof RpcError
}

/** An agent chooses the code of its close, and 4401 and 4403 would read as a rejection of the caller. */
function linkError(error: RpcError<string>): RpcError<string> {
  const { code, message, mayHaveRun } = error
  if (code !== 'UNAUTHORIZED' && code !== 'FORBIDDEN') return error
  return new RpcError('SERVICE_UNAVAILABLE', message, { reason: 'connection_lost', mayHaveRun, cause: error })
}

function sentError(error: RpcError<string>): RpcError<string> {
  const { code, message, mayHaveRun } = error
  const reason = errorReasonOf(error)
  const known = processReasons.find(name => name === reason)
  if (known && errorReasons[known].code === code) return error
  // An agent that is about to end starts nothing; a server that drains is another thing.
  if (reason === 'draining') return rpcError('agent_unreachable', message, { mayHaveRun, cause: error })
  if (!known && codesWithoutReason.has(code)) return new RpcError(code, message, { mayHaveRun, cause: error })
  return invalid('an error', `${code}${reason === undefined ? '' : ` (${reason})`}: ${message}`)
}
