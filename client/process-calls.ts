/** Calls to the processes of an agent, over the agent's own connection or that of a server between. */
import type { ProcessCall } from '../shared/contract/agents.js'
import { errorReasonOf } from '../shared/contract/error-reasons.js'
import { processLimits } from '../shared/contract/limits.js'
import { errorCodeOf, mayHaveRunOf, RpcError } from '../shared/rpc/errors.js'
import { cutToBytes } from '../shared/values/text.js'
import type { ProcedureOptions } from './rpc/client.js'

/** Returns the options of a call. A wait names its own deadline: the default would end it. */
export function optionsOf({ signal }: ProcessCall, waitMs = 0): ProcedureOptions {
  return { ...(signal && { signal }), context: { timeoutMs: waitMs + processLimits.patienceMs } }
}

/** Gives the errors of the agent and of the link the type that services throw. */
export async function converted<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    const code = errorCodeOf(error) ?? 'INTERNAL_SERVER_ERROR'
    const message = cutToBytes(error instanceof Error ? error.message : String(error), processLimits.maxErrorBytes)
    throw new RpcError<string>(code, message, {
      reason: errorReasonOf(error),
      mayHaveRun: mayHaveRunOf(error),
      cause: error,
    })
  }
}
