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

/**
 * Waits for the end of a process in slices. A lost connection sends a call again with its whole wait, at most twice:
 * three waits of a slice fit into the deadline of one. A repeat of a slice changes nothing at the agent.
 */
export async function waitInSlices<T extends { running: boolean }>(
  waitMs: number,
  read: (waitMs: number) => Promise<T>,
): Promise<T> {
  const until = performance.now() + waitMs
  for (let leftMs = waitMs; ; ) {
    const waitMs = Math.min(leftMs, maxSliceMs)
    const state = await read(waitMs)
    const nextMs = Math.ceil(until - performance.now())
    // The wait is the agent's: an agent that responds far too early is not asked again and again.
    const isEarly = leftMs - nextMs < waitMs / 2
    if (!state.running || nextMs <= 0 || isEarly) return state
    leftMs = nextMs
  }
}

const maxSliceMs = processLimits.patienceMs / 2

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
