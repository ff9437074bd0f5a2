/** The questions about workspace agents, and about the server processes that hold their connections. */
import type { Agent } from '../../../shared/contract/admin/agents.js'
import type { User } from '../../../shared/contract/admin/users.js'

/** An agent as stored; `replica` is the server process that has its connection, or had it until it was killed. */
export interface AgentRow extends Omit<Agent, 'isConnected'> {
  replica: string | null
}

/** The facts that the key of an agent is checked by; `owner` is null for an unknown user. */
export interface FoundAgent {
  agent: AgentRow
  secretHash: Uint8Array
  owner: User | null
}

/**
 * The newest connection of an agent.
 * - `isValid` not revoked, not expired, the owner active
 * - `epoch` the number of the connection, and `instance` the process that made it
 * - `replica` the server process that has the connection, or had it until it was killed; null when it has ended
 */
export interface AgentLink {
  id: string
  isValid: boolean
  epoch: number
  instance: string | null
  replica: string | null
}

/** A new connection of an agent: its number, and the process that was connected until now, if any was. */
export interface AgentConnected {
  epoch: number
  replaced: string | null
}

/** Workspace agents: of a secret only the hash is stored. */
export interface AgentStore {
  /** Returns null if the id of the key is taken, or an agent that is not revoked has the name. */
  createAgent(
    agent: Pick<AgentRow, 'id' | 'keyId' | 'name' | 'userId' | 'expiresAt'> & { secretHash: Uint8Array },
  ): Promise<AgentRow | null>
  /** Finds an agent by id, or by the name of an agent that is not revoked. */
  findAgent(idOrName: string): Promise<AgentRow | null>
  /** The agent with a key, and its owner, read in one snapshot. */
  findAgentByKey(keyId: string): Promise<FoundAgent | null>
  /** Newest first, then by id. */
  listAgents(): Promise<AgentRow[]>
  /** Sets `revokedAt` to `at`, once. */
  revokeAgent(id: string, at: Date): Promise<AgentRow | null>
  /**
   * Notes a new connection at a server, whose number is above that of all before; null for an unknown agent.
   * @param connection.livesSince an older connection that was not seen since has ended with its server
   */
  recordAgentConnected(
    id: string,
    connection: { replica: string; instance: string; buildVersion: string | null; at: Date; livesSince: Date },
  ): Promise<AgentConnected | null>
  /** Records agents as seen, of those whose newest connection is the given one. */
  recordAgentsPresent(links: readonly Pick<AgentLink, 'id' | 'epoch'>[], at: Date): Promise<void>
  /** Records the end of a connection, unless a newer one follows it. */
  recordAgentLeft(link: Pick<AgentLink, 'id' | 'epoch'>, at: Date): Promise<void>
  /** The states of agents; an unknown one is left out. */
  readAgentLinks(ids: readonly string[], at: Date): Promise<AgentLink[]>
}

/** A server process, and the base URL at which the others reach it. */
export interface Replica {
  id: string
  advertiseUrl: string
}

/** The server processes of a database that others reach. All times are those of the database's clock. */
export interface ReplicaStore {
  /** Adds the process, or records that it lives. */
  recordReplicaSeen(replica: Replica): Promise<void>
  /** Returns null for an unknown process, and for one that was not seen within the time. */
  findReplica(id: string, seenWithinMs: number): Promise<Replica | null>
  /** Removes the process that stops, if any does, and all that were not seen for the time. */
  forgetReplicas(gone: { id: string | null; notSeenForMs: number }): Promise<void>
}
