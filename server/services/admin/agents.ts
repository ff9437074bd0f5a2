import { v5 as uuidv5 } from 'uuid'
import type { z } from 'zod'
import type {
  agentProcessesInput,
  OperatorStartedProcess,
  operatorOutputInput,
  operatorSignalInput,
  operatorStartInput,
} from '../../../shared/contract/admin/agents.js'
import type { ProcessList, ProcessOutput, SignalledProcess } from '../../../shared/contract/agents.js'
import { processLimits } from '../../../shared/contract/limits.js'
import type { AuditEntry, AuditedWrites } from '../../store/store.js'
import type { AgentHosts } from '../agent-hosts.js'
import { auditEntry } from '../audit-entry.js'
import type { AgentKeys } from './agent-keys.js'

/** Agents, their keys, and their processes as operators see them: those of every scope. */
export interface AgentsAdmin extends Pick<AgentKeys, 'create' | 'list' | 'revoke'> {
  /**
   * Starts a command on an agent, or attaches to the process with this id.
   * @throws RpcError `NOT_FOUND` (unknown_row); the errors of {@link AgentHosts.call} and of the host
   */
  start(
    input: z.output<typeof operatorStartInput>,
    actor: string,
    signal?: AbortSignal | undefined,
  ): Promise<OperatorStartedProcess>
  /** Waits for the end of a process, and reads its output. */
  output(input: z.output<typeof operatorOutputInput>, signal?: AbortSignal | undefined): Promise<ProcessOutput>
  processes(input: z.output<typeof agentProcessesInput>, signal?: AbortSignal | undefined): Promise<ProcessList>
  signal(
    input: z.output<typeof operatorSignalInput>,
    actor: string,
    signal?: AbortSignal | undefined,
  ): Promise<SignalledProcess>
}

export interface AgentsAdminOptions {
  store: AuditedWrites
  agentKeys: AgentKeys
  agentHosts: AgentHosts
}

export function createAgentsAdmin({ store, agentKeys, agentHosts }: AgentsAdminOptions): AgentsAdmin {
  const { patienceMs: timeoutMs } = processLimits
  const { create, list, revoke, idOf } = agentKeys

  /** Before the call, so that no command runs without an entry. The command stays out: it may hold a secret. */
  async function note(entry: AuditEntry): Promise<void> {
    await store.audited(
      async () => undefined,
      () => entry,
    )
  }

  return {
    create,
    list,
    revoke,

    async start({ agent, ...input }, actor, signal) {
      const agentId = await idOf(agent)
      const entry = auditEntry(actor, 'agents.start', agentId, { process: input.id })
      return agentHosts.call(agentId, { timeoutMs, signal }, async (host, instanceId, call) => {
        // A start that is sent again is attached, and has one entry.
        const id = uuidv5(JSON.stringify([agentId, instanceId, actor, input.id]), startsNamespace)
        await note({ ...entry, id })
        return { ...(await host.start(input, call)), instanceId }
      })
    },

    async output({ agent, instanceId, ...input }, signal) {
      const agentId = await idOf(agent)
      const bounds = { timeoutMs: input.waitMs + timeoutMs, signal, instanceId }
      return agentHosts.call(agentId, bounds, (host, _instance, call) =>
        host.output({ ...input, waitMs: Math.max(0, input.waitMs - call.waitedMs) }, call),
      )
    },

    async processes({ agent }, signal) {
      return agentHosts.call(await idOf(agent), { timeoutMs, signal }, (host, _instance, call) => host.list({}, call))
    },

    async signal({ agent, instanceId, ...input }, actor, signal) {
      const agentId = await idOf(agent)
      await note(auditEntry(actor, 'agents.signal', agentId, { process: input.id, signal: input.signal }))
      return agentHosts.call(agentId, { timeoutMs, signal, instanceId }, (host, _instance, call) =>
        host.signal(input, call),
      )
    },
  }
}

/** Tells the ids of these entries from other ids of version 5 (RFC 9562 section 5.5). */
const startsNamespace = '5b0d5f0c-6c3e-4b57-9d0e-3c1a5c8f2e41'
