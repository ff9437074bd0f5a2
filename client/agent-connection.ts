/** The processes of an agent over the duplexes that the agent brings, for the process that calls. */
import type { ProcessRouter } from '../server/routers/process.js'
import type { ProcessCall, ProcessHost } from '../shared/contract/agents.js'
import { errorReasonOf } from '../shared/contract/error-reasons.js'
import { processLimits } from '../shared/contract/limits.js'
import { errorCodeOf, mayHaveRunOf, RpcError } from '../shared/rpc/errors.js'
import { transformer } from '../shared/rpc/json/transformer.js'
import { createDuplexClient, type ProcedureOptions } from './rpc/client.js'
import { type ConnectOptions, connect } from './rpc/connection.js'

/**
 * Calls the processes of an agent. Calls wait for a duplex, and are sent again on the next one, since every procedure
 * of an agent is idempotent.
 * @param dial waits for the next duplex of the agent, as the `dial` of a `ParkedDial` does
 */
export function connectAgent(dial: ConnectOptions['dial']): { host: ProcessHost; close(): void } {
  const connection = connect({ dial, random: () => 0, resend: () => true })
  const client = createDuplexClient<ProcessRouter>({ connection, transformer })
  return {
    host: {
      info: call => converted(client.info.query(undefined, optionsOf(call))),
      start: (input, call) => converted(client.start.mutate(input, optionsOf(call))),
      output: (input, call) => converted(client.output.query(input, optionsOf(call, input.waitMs))),
      list: (input, call) => converted(client.list.query(input, optionsOf(call))),
      signal: (input, call) => converted(client.signal.mutate(input, optionsOf(call))),
      cancel: (input, call) => converted(client.cancel.mutate(input, optionsOf(call, input.waitMs))),
    },
    close: () => void connection.close(),
  }
}

/** A wait names its own deadline: the default would end it. */
function optionsOf({ signal }: ProcessCall, waitMs = 0): ProcedureOptions {
  return { ...(signal && { signal }), context: { timeoutMs: waitMs + processLimits.patienceMs } }
}

/** Gives the errors of the agent and of the link the type that services throw. */
async function converted<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    const code = errorCodeOf(error) ?? 'INTERNAL_SERVER_ERROR'
    const message = error instanceof Error ? error.message : String(error)
    throw new RpcError<string>(code, message, {
      reason: errorReasonOf(error),
      mayHaveRun: mayHaveRunOf(error),
      cause: error,
    })
  }
}
