/** The processes of an agent over the duplexes that the agent brings, for the process that calls. */
import type { z } from 'zod'
import type { ProcessRouter } from '../server/routers/process.js'
import {
  agentInfoOutput,
  cancelledProcessOutput,
  processListOutput,
  processOutputOutput,
  signalledProcessOutput,
  startedProcessOutput,
} from '../shared/contract/agent-outputs.js'
import type { ProcessHost } from '../shared/contract/agents.js'
import { transformer } from '../shared/rpc/json/transformer.js'
import { invalid, ofAgent } from './agent-errors.js'
import { optionsOf, waitInSlices } from './process-calls.js'
import { createDuplexClient } from './rpc/client.js'
import { type ConnectOptions, connect } from './rpc/connection.js'

/**
 * Calls the processes of an agent. Calls wait for a duplex, and are sent again on the next one, since every procedure
 * of an agent is idempotent. A response or an error that breaks a rule fails its call with agent_invalid.
 * @param dial waits for the next duplex of the agent, as the `dial` of a `ParkedDial` does
 */
export function connectAgent(dial: ConnectOptions['dial']): {
  host: ProcessHost
  readonly isClosed: boolean
  close(): void
} {
  const connection = connect({ dial, random: () => 0, resend: () => true })
  const client = createDuplexClient<ProcessRouter>({ connection, transformer })
  return {
    host: {
      info: call => checked(agentInfoOutput, client.info.query(undefined, optionsOf(call))),
      async start(input, call) {
        const started = await checked(startedProcessOutput, client.start.mutate(input, optionsOf(call)))
        if (started.id !== input.id) throw invalid('a response', 'id: another process than the one that was asked for')
        return started
      },
      output: (input, call) =>
        waitInSlices(input.waitMs, waitMs =>
          checked(processOutputOutput, client.output.query({ ...input, waitMs }, optionsOf(call, waitMs))),
        ),
      list: (input, call) => checked(processListOutput, client.list.query(input, optionsOf(call))),
      signal: (input, call) => checked(signalledProcessOutput, client.signal.mutate(input, optionsOf(call))),
      cancel: (input, call) =>
        waitInSlices(input.waitMs, waitMs =>
          checked(cancelledProcessOutput, client.cancel.mutate({ ...input, waitMs }, optionsOf(call, waitMs))),
        ),
    },
    get isClosed() {
      return connection.state === 'closed'
    },
    close: () => void connection.close(),
  }
}

/**
 * Returns the checked response of an agent.
 * @throws RpcError agent_invalid; the errors of the agent and of the link, as services throw them
 */
async function checked<T>(schema: z.ZodType<T>, call: Promise<unknown>): Promise<T> {
  const { data, error } = schema.safeParse(await ofAgent(call))
  if (!error) return data
  const [issue] = error.issues
  throw invalid('a response', issue ? `${issue.path.join('.') || 'the whole'}: ${issue.message}` : 'unknown')
}
