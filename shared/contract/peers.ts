/**
 * The procedures that the servers of one database call at each other: for an agent whose connection the called server
 * holds, and for the live parts of a chat that it runs. Beside the agent's own input, the agent and the process of it
 * that is meant.
 */
import { z } from 'zod'
import {
  cancelProcessInput,
  listProcessesInput,
  processOutputInput,
  signalProcessInput,
  startProcessInput,
} from './agents.js'
import { uuid } from './fields.js'
import { chatLimits } from './limits.js'

/**
 * The least version of a server that can be called, below that of the contract, so that servers of two versions call
 * each other during an upgrade. It is raised with a procedure that callers cannot do without.
 */
export const peerVersion = { major: 1, minor: 7 } as const

/** An agent, and the process of it that is meant: another one knows nothing of its processes. */
const agent = { agentId: uuid, instanceId: uuid }

/** Asks an agent for its facts: see `info` of agents. */
export const peerInfoInput = z.object(agent)

/** Starts a command on an agent: see `start` of agents. */
export const peerStartInput = z.object({ ...agent, input: startProcessInput })

/** Waits for a process of an agent, and reads its output: see `output` of agents. */
export const peerOutputInput = z.object({ ...agent, input: processOutputInput })

/** Lists the newest processes of an agent: see `list` of agents. */
export const peerListInput = z.object({ ...agent, input: listProcessesInput })

/** Sends a signal to a process of an agent: see `signal` of agents. */
export const peerSignalInput = z.object({ ...agent, input: signalProcessInput })

/** Ends a process of an agent: see `cancel` of agents. */
export const peerCancelInput = z.object({ ...agent, input: cancelProcessInput })

/** Follows the live parts of an attempt of a chat, from the first one on, or behind the event with the id. */
export const peerFollowInput = z.object({
  chatId: uuid,
  historyVersion: z.int().min(1).max(chatLimits.maxSeq),
  attempt: z.int().min(1).max(chatLimits.maxSeq),
  lastEventId: z
    .string()
    .regex(/^\d{1,10}$/)
    .optional(),
})
