/** Workspace agents: processes on other machines that run commands, each with a key of its own. */
import { z } from 'zod'
import { processOutputInput, type StartedProcess, signalProcessInput, startProcessInput } from '../agents.js'
import { time, uuid } from '../fields.js'
import { adminLimits } from '../limits.js'
import { userRef } from './users.js'

/** 1 to 64 characters of letters, digits and `._-`; begins with a letter or digit. */
const agentName = z
  .string()
  .max(adminLimits.maxUsernameLength)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'must be letters, digits and ._-, the first a letter or digit')

/** An agent by id, or by the name of an agent that is not revoked. */
export const agentRef = z.union([uuid, agentName], "must be an agent's id or name")

/**
 * An agent.
 * - `keyId` the public part of its key
 * - `userId` the owner; `username` is null for an owner who was purged
 * - `lastSeenAt` time of the newest sign of its connection, to the minute
 * - `instance` the process that connected last; `buildVersion` as it described itself
 * - `isConnected` whether a server has its connection
 */
export interface Agent {
  id: string
  keyId: string
  name: string
  userId: string
  username: string | null
  createdAt: Date
  expiresAt: Date | null
  revokedAt: Date | null
  lastSeenAt: Date | null
  instance: string | null
  buildVersion: string | null
  isConnected: boolean
}

/** The response of `agents.create`: the only time the whole key leaves the server. */
export interface CreatedAgent extends Agent {
  key: string
}

/**
 * A name in the form of a UUID is rejected, since an agent can be given by id or name. `expiresAt` must lie in the
 * future.
 */
export const agentsCreateInput = z.object({
  name: agentName.refine(value => !uuid.safeParse(value).success, 'must not be a UUID'),
  user: userRef,
  expiresAt: time.optional(),
})

/** Revokes the key of an agent, and closes its connection. */
export const agentsRevokeInput = z.object({ agent: agentRef })

const { scope: _scope, ...startFields } = startProcessInput.shape
const { scope: _ofOutput, ...outputFields } = processOutputInput.shape
const { scope: _ofSignal, ...signalFields } = signalProcessInput.shape

/** The process of the agent that started a command; another one knows nothing of it. */
const instanceId = uuid.optional()

/** Starts a command on an agent: see `start` of agents. */
export const operatorStartInput = z.object({ agent: agentRef, ...startFields })

/** Waits for a process of an agent, and reads its output: see `output` of agents. */
export const operatorOutputInput = z.object({ agent: agentRef, instanceId, ...outputFields })

/** Lists the newest processes of an agent, of every scope. */
export const agentProcessesInput = z.object({ agent: agentRef })

/** Sends SIGTERM or SIGKILL to a process of an agent and its children. */
export const operatorSignalInput = z.object({ agent: agentRef, instanceId, ...signalFields })

/** A started process, and the process of the agent that has it: see {@link Agent}. */
export interface OperatorStartedProcess extends StartedProcess {
  instanceId: string
}
