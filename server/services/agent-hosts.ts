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

/** One attempt of a call. */
export interface AgentAttempt extends ProcessCall {
  /** since the first attempt; 0 for that one. A wait that goes on at another server is shorter by this time */
  readonly waitedMs: number
}

/** The agents of all servers of the database. */
export interface AgentHosts {
  /**
   * Runs `work` with the processes of an agent and the id of its instance; waits for an agent that is away. An agent
   * that comes back to another server is asked again there, since its procedures are idempotent; another instance is
   * asked only if no earlier one can have seen the call.
   * @throws RpcError agent_unreachable at the deadline, and at once for an agent that may not connect any more;
   *   agent_restarted if another instance came while the call was open, or is there in place of `instanceId`: the
   *   outcome is unknown, and nothing runs again; draining; the host's errors
   */
  call<T>(
    agentId: string,
    call: AgentCall,
    work: (host: ProcessHost, instanceId: string, attempt: AgentAttempt) => Promise<T>,
  ): Promise<T>
}

/** The agents whose connections this process holds, for calls of other servers. */
export interface HeldAgents {
  /**
   * Runs `work` with the processes of an agent that is connected to this process. Waits for an agent that is not, until
   * the signal aborts, and asks no other server.
   * @throws RpcError agent_restarted if another instance is connected: this call has not run; draining; the host's
   *   errors, and those of the connection
   */
  callHeld<T>(
    agent: { agentId: string; instanceId: string },
    call: ProcessCall,
    work: (host: ProcessHost, call: ProcessCall) => Promise<T>,
  ): Promise<T>
}

/** A server that takes no agents. */
export const noAgents: AgentHosts & HeldAgents = {
  async call() {
    throw rpcError('agent_unreachable', 'this server takes no agents')
  },
  async callHeld() {
    throw rpcError('agent_unreachable', 'this server takes no agents')
  },
}
