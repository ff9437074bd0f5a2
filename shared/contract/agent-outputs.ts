/**
 * The responses of an agent, as the process that calls it takes them: an agent runs other people's commands and may be
 * anything. Fields of newer agents are dropped.
 */
import { z } from 'zod'
import type {
  AgentInfo,
  CancelledProcess,
  ListedProcess,
  ProcessList,
  ProcessOutput,
  SignalledProcess,
  StartedProcess,
} from './agents.js'
import { text, time } from './fields.js'
import { processLimits } from './limits.js'

const { maxIdLength, maxDirLength, maxListed, maxListedCommandBytes, maxOutputLength, maxNameLength } = processLimits

const id = text(maxIdLength).min(1)
const dir = text(maxDirLength)
const name = text(maxNameLength)
const count = z.number().int().min(0)

const state = {
  running: z.boolean(),
  exitCode: z.number().int().nullable().exactOptional(),
  signal: name.exactOptional(),
  durationMs: z.number().min(0),
}

const truncated = z.object({ originalBytes: count, retainedBytes: count, omittedBytes: count, cutLines: count })
// The output is passed on as it is, U+0000 included.
const output = { ...state, output: z.string().max(maxOutputLength), truncated: truncated.exactOptional() }

const listed: z.ZodType<ListedProcess> = z.object({
  ...state,
  id,
  scope: id.exactOptional(),
  command: text(maxListedCommandBytes),
  dir,
  background: z.boolean(),
  startedAt: time,
})

/** A response of `info`. */
export const agentInfoOutput: z.ZodType<AgentInfo> = z.object({
  instanceId: id,
  os: name,
  home: dir,
  dir,
  startedAt: time,
  buildVersion: name,
})

/** A response of `start`. */
export const startedProcessOutput: z.ZodType<StartedProcess> = z.object({ id, attached: z.boolean() })

/** A response of `output`. */
export const processOutputOutput: z.ZodType<ProcessOutput> = z.object(output)

/** A response of `list`. */
export const processListOutput: z.ZodType<ProcessList> = z.object({
  // The number comes first: each bad element would cost several issues.
  processes: z.array(z.unknown()).max(maxListed).pipe(z.array(listed)),
  total: count,
})

/** A response of `signal`. */
export const signalledProcessOutput: z.ZodType<SignalledProcess> = z.object({}).transform((): SignalledProcess => ({}))

/** A response of `cancel`. */
export const cancelledProcessOutput: z.ZodType<CancelledProcess> = z.object({ ...output, ran: z.boolean() })
