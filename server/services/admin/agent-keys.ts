import { v7 as uuidv7 } from 'uuid'
import type { z } from 'zod'
import type {
  Agent,
  agentsCreateInput,
  agentsRevokeInput,
  CreatedAgent,
} from '../../../shared/contract/admin/agents.js'
import { type ErrorReason, errorReasons, rpcError } from '../../../shared/contract/error-reasons.js'
import { presence } from '../../../shared/contract/limits.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { AgentRow, AgentStore, AuditedWrites, ShortIdStore, UserStore } from '../../store/store.js'
import { generateApiKey, hashSecret, isSecretOf, parseApiKey } from '../api-key.js'
import { auditEntry } from '../audit-entry.js'
import { unknownRow } from '../unknown-row.js'
import { findUser } from './find-user.js'

/** The agent that a key stands for. */
export interface AgentIdentity {
  agentId: string
  name: string
}

/** Workspace agents and their keys, which have the form of the other keys and are accepted for agents only. */
export interface AgentKeys {
  /**
   * Creates an agent with a key, and returns the whole key, this once.
   * @throws RpcError `BAD_REQUEST` if `expiresAt` has passed; `NOT_FOUND` (unknown_row) for an unknown or deleted user;
   *   `CONFLICT` (name_taken) if an agent that is not revoked has the name
   */
  create(input: z.output<typeof agentsCreateInput>, actor: string): Promise<CreatedAgent>
  /** Returns all agents, newest first, revoked ones included. */
  list(): Promise<Agent[]>
  /**
   * Revokes the key of an agent for good, and closes its connection, in every process.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  revoke(input: z.output<typeof agentsRevokeInput>, actor: string): Promise<Agent>
  /**
   * Returns the id of an agent by its id or name.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  idOf(ref: string): Promise<string>
  /**
   * Identifies the agent with this key. Only a client with the secret learns the state of a key.
   * @throws RpcError `UNAUTHORIZED` (key_invalid, key_expired); `FORBIDDEN` (key_revoked), also if the owner is
   *   suspended or deleted
   */
  authenticate(key: string): Promise<AgentIdentity>
}

export interface AgentKeysOptions {
  store: AgentStore & AuditedWrites & Pick<UserStore, 'findUser'> & ShortIdStore
  now?: () => Date
}

export function createAgentKeys({ store, now = () => new Date() }: AgentKeysOptions): AgentKeys {
  async function find(ref: string): Promise<AgentRow> {
    const agent = await store.findAgent(ref)
    if (!agent) throw unknownRow('agent', ref)
    return agent
  }

  return {
    async create({ name, user, expiresAt = null }, actor) {
      const time = now()
      if (expiresAt && expiresAt <= time) {
        const message = `expiresAt: must lie in the future; ${expiresAt.toISOString()} is not after ${time.toISOString()}`
        throw new RpcError('BAD_REQUEST', message)
      }
      const owner = await findUser(store, user)
      if (owner.deletedAt) throw unknownRow('user', user)
      // 62^10 ids of keys exist; two taken ones in a row point at another fault.
      for (let attempt = 0; attempt < 2; attempt++) {
        const { id: keyId, secret } = generateApiKey()
        const fields = { id: uuidv7(), keyId, name, userId: owner.id, expiresAt, secretHash: hashSecret(secret) }
        const created = await store.audited(
          tables => tables.createAgent(fields),
          agent => {
            const details = { name, userId: owner.id, expiresAt: expiresAt?.toJSON() ?? null }
            return agent && auditEntry(actor, 'agents.create', agent.id, details)
          },
        )
        if (created) return { ...shown(created, time), key: `${keyId}-${secret}` }
        if (await store.findAgent(name)) {
          throw rpcError('name_taken', `another agent has the name ${JSON.stringify(name)}`)
        }
      }
      throw new Error('the store rejected two new agents')
    },

    async list() {
      const time = now()
      return (await store.listAgents()).map(agent => shown(agent, time))
    },

    async revoke({ agent: ref }, actor) {
      const { id } = await find(ref)
      const revoked = await store.audited(
        tables => tables.revokeAgent(id, now()),
        agent => agent && auditEntry(actor, 'agents.revoke', id),
      )
      if (!revoked) throw unknownRow('agent', ref)
      return shown(revoked, now())
    },

    idOf: async ref => (await find(ref)).id,

    async authenticate(text) {
      const given = parseApiKey(text)
      if (!given) throw rejection('key_invalid')
      const found = await store.findAgentByKey(given.id)
      // An unknown id costs a hash too, so the time does not reveal which ids exist.
      const matches = isSecretOf(found?.secretHash ?? noHash, given.secret)
      if (!found || !matches) throw rejection('key_invalid')
      const { agent, owner } = found
      if (agent.revokedAt || owner?.status !== 'active' || owner.deletedAt) throw rejection('key_revoked')
      if (agent.expiresAt && agent.expiresAt <= now()) throw rejection('key_expired')
      return { agentId: agent.id, name: agent.name }
    },
  }
}

const noHash = new Uint8Array(32)

/** A server that was killed leaves its name in the row, and the time that it noted last. */
function shown({ replica, ...agent }: AgentRow, now: Date): Agent {
  const silentMs = now.getTime() - (agent.lastSeenAt?.getTime() ?? 0)
  return { ...agent, isConnected: replica !== null && silentMs < presence.agentGoneAfterMs }
}

function rejection(reason: 'key_invalid' | 'key_revoked' | 'key_expired'): RpcError<ErrorReason> {
  return rpcError(reason, errorReasons[reason].meaning)
}
