/** Agents as services see them: the processes of an agent by its id, wherever its connection is. */
import type { ProcessCall, ProcessHost } from '../../shared/contract/agents.js'
import { rpcError } from '../../shared/contract/error-reasons.js'

/** A call to an agent: its wait for the agent is bounded. */
export interface AgentCall extends ProcessCall {
  /** from the call to the response, the wait for the agent included; then the call fails with agent_unreachable */
  timeoutMs: number
  /** the process of the agent that the call is for; default: any */
  instanceId?: string | undefined
}

/** The agents that are reached from this process. */
export interface AgentHosts {
  /**
   * Runs `work` with the processes of an agent and the id of its instance; waits for an agent that is away. The agent
   * is asked once for each instance that has not seen the call.
   * @throws RpcError agent_unreachable at the deadline; agent_restarted if another instance came while the call was
   *   open, or is there in place of `instanceId`: the outcome is unknown, and nothing runs again; the host's errors
   */
  call<T>(
    agentId: string,
    call: AgentCall,
    work: (host: ProcessHost, instanceId: string, call: ProcessCall) => Promise<T>,
  ): Promise<T>
}

/** A server that takes no agents. */
export const noAgents: AgentHosts = {
  async call() {
    throw rpcError('agent_unreachable', 'this server takes no agents')
  },
}
