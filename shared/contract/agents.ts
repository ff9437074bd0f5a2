/**
 * The processes of an agent: commands on the machine where the agent runs. Every procedure is idempotent, and callers
 * make the ids, so a lost response costs a repeat. A caller with a scope sees the processes of this scope only; a
 * caller without one sees all.
 */
import { z } from 'zod'
import { utf8Bytes } from '../values/text.js'
import type { ErrorReason } from './error-reasons.js'
import { text } from './fields.js'
import { processLimits } from './limits.js'

const {
  maxIdLength,
  maxCommandBytes,
  maxEnvEntries,
  maxEnvBytes,
  maxDirLength,
  maxWaitMs: longestWaitMs,
  maxDeadlineMs,
} = processLimits

const id = text(maxIdLength).min(1)
const scope = id.optional()
const waitMs = z.number().int().min(0).max(longestWaitMs)

/** Text that a command gets as it is: a replaced character would make another command. */
const exact = z
  .string()
  .refine(value => !value.includes('\0') && value.isWellFormed(), 'must have no U+0000 and no lone surrogate')

const command = exact
  .min(1)
  .refine(value => utf8Bytes(value) <= maxCommandBytes, `must have at most ${maxCommandBytes} bytes`)

const env = z
  .record(exact.regex(/^[^=]+$/, 'must be a name without ='), exact)
  .refine(value => Object.keys(value).length <= maxEnvEntries, `must have at most ${maxEnvEntries} entries`)
  .refine(value => envBytes(value) <= maxEnvBytes, `must have at most ${maxEnvBytes} bytes`)

/** The bytes of an environment as the system counts them: `NAME=value`, and a byte behind each. */
function envBytes(variables: Readonly<Record<string, string>>): number {
  return Object.entries(variables).reduce((sum, [name, value]) => sum + utf8Bytes(name) + utf8Bytes(value) + 2, 0)
}

/**
 * Starts `sh -c` with a command. A repeat with the same input is attached to the process, and starts nothing.
 * - `dir` absolute, or below the agent's own directory, which is the default
 * - `env` further variables, beside the agent's own without its secrets
 * - `background` the caller does not wait for the end; for lists, decides nothing
 * - `deadlineMs` time after which the process is terminated; default none
 */
export const startProcessInput = z.object({
  id,
  scope,
  command,
  dir: exact.min(1).max(maxDirLength).optional(),
  env: env.optional(),
  background: z.boolean(),
  deadlineMs: z.number().int().min(1).max(maxDeadlineMs).optional(),
})

/** Waits for the end of a process, at most `waitMs`, and reads its output. A wait never ends a process. */
export const processOutputInput = z.object({ id, scope, waitMs })

/** Lists the newest processes, running ones first. */
export const listProcessesInput = z.object({ scope })

/** Sends SIGTERM or SIGKILL to a process and its children. */
export const signalProcessInput = z.object({ id, scope, signal: z.enum(['terminate', 'kill']) })

/**
 * Ends a process, by SIGTERM and, 2 s later, SIGKILL, and waits for its end, at most `waitMs`. An id that has not been
 * started cannot be started any more.
 */
export const cancelProcessInput = z.object({ id, scope, waitMs })

/** A checked input of `start`. */
export type StartProcess = z.output<typeof startProcessInput>
/** A checked input of `output`. */
export type ReadProcess = z.output<typeof processOutputInput>
/** A checked input of `list`. */
export type ListProcesses = z.output<typeof listProcessesInput>
/** A checked input of `signal`. */
export type SignalProcess = z.output<typeof signalProcessInput>
/** A checked input of `cancel`. */
export type CancelProcess = z.output<typeof cancelProcessInput>

/**
 * An agent.
 * - `instanceId` new at each start of the agent: processes of another instance are gone
 * - `os` the platform, as Node names it: `linux`, `darwin`
 * - `home` the home directory of the agent's user; `dir` the directory of commands that name none
 */
export interface AgentInfo {
  instanceId: string
  os: string
  home: string
  dir: string
  startedAt: Date
  buildVersion: string
}

/** The output of `start`. `attached`: an earlier call has started the process. */
export interface StartedProcess {
  id: string
  attached: boolean
}

/** The parts of an output that were left out. */
export interface TruncatedOutput {
  /** all that the process has written */
  originalBytes: number
  retainedBytes: number
  omittedBytes: number
  /** lines that were longer than 2,048 bytes, the omitted lines included */
  cutLines: number
}

/**
 * The state of a process.
 * - `exitCode` and `signal` since the command has exited: `exitCode` is null and `signal` names the signal if a signal
 *   ended the command
 */
export interface ProcessState {
  running: boolean
  exitCode?: number | null
  signal?: string
  /** from the start of the command to its exit, or until now */
  durationMs: number
}

/**
 * The output of a process so far: stdout and stderr in the order of writing, invalid UTF-8 as U+FFFD. Whatever is above
 * 16 KiB at the beginning and 16 KiB at the end is left out, with a mark in the place of each gap.
 */
export interface ProcessOutput extends ProcessState {
  output: string
  /** if a byte was left out */
  truncated?: TruncatedOutput
}

/** A process in a list. */
export interface ListedProcess extends ProcessState {
  id: string
  scope?: string
  /** cut to 1 KiB */
  command: string
  dir: string
  background: boolean
  startedAt: Date
}

/** At most ten processes of `total`. */
export interface ProcessList {
  processes: ListedProcess[]
  total: number
}

/** The output of `cancel`. `ran`: the command was started, whether it runs or has ended. */
export interface CancelledProcess extends ProcessOutput {
  ran: boolean
}

/** The output of `signal`. */
export type SignalledProcess = Record<string, never>

/** A call of a {@link ProcessHost}. A wait ends when the signal aborts. */
export interface ProcessCall {
  readonly signal?: AbortSignal | undefined
}

/** The reasons of a {@link ProcessHost}: an agent sends no other. */
export const processReasons = [
  'input_differs',
  'cancelled',
  'dir_not_found',
  'not_started',
  'too_many_processes',
  'unknown_process',
  'not_running',
  'output_gone',
] as const satisfies readonly ErrorReason[]

/** An agent's processes, in this process or behind a link. Inputs are checked. */
export interface ProcessHost {
  info(call: ProcessCall): Promise<AgentInfo>
  /**
   * @throws RpcError input_differs, cancelled, dir_not_found, not_started, too_many_processes; unknown_process if the
   *   id belongs to another scope
   */
  start(input: StartProcess, call: ProcessCall): Promise<StartedProcess>
  /** @throws RpcError unknown_process, cancelled, output_gone */
  output(input: ReadProcess, call: ProcessCall): Promise<ProcessOutput>
  list(input: ListProcesses, call: ProcessCall): Promise<ProcessList>
  /** @throws RpcError unknown_process, not_running */
  signal(input: SignalProcess, call: ProcessCall): Promise<SignalledProcess>
  /** @throws RpcError output_gone; unknown_process if the id belongs to another scope */
  cancel(input: CancelProcess, call: ProcessCall): Promise<CancelledProcess>
}
