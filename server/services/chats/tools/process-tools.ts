/** The tools of a chat: commands on its agent. */
import type { ProcessHost, ProcessOutput } from '../../../../shared/contract/agents.js'
import { chatLimits, processLimits } from '../../../../shared/contract/limits.js'
import { utf8Bytes } from '../../../../shared/values/text.js'
import type { AgentHosts } from '../../agent-hosts.js'
import { describeIssues } from '../../check-input.js'
import { isToolName, type ToolName, toolInputs } from './definitions.js'
import { dumpNote, listText, outputText } from './result-text.js'
import { invalidInputText, toolErrorText, unknownToolText } from './tool-errors.js'

/** The agent of a chat, for one step of a turn. */
export interface ToolAgent {
  agentId: string
  /** the chat: the scope of its processes */
  chatId: string
  /** directory of commands that name none */
  cwd: string | null
  /** the process of the agent on which the commands of this step run */
  instanceId: string
}

/** One call of a tool. */
export interface ToolCall {
  toolName: string
  /** JSON text of the model */
  input: string
  /** the id of the process that the call starts, if it starts one */
  processId: string
  signal: AbortSignal
}

/** The result of a tool. */
export interface ToolOutcome {
  output: string
  isError: boolean
}

/** Parts of {@link runTool}. */
export interface ToolOptions {
  hosts: AgentHosts
  agent: ToolAgent
}

/** time beside a wait, for the way to the agent and for an agent that is away */
const reachMs = 30_000

/**
 * Runs a call of a tool. An invalid input, an unknown tool and a failure of the agent are results, too.
 * @throws the signal's reason; any error that is no failure of the agent
 */
export async function runTool(options: ToolOptions, call: ToolCall): Promise<ToolOutcome> {
  const { toolName } = call
  if (!isToolName(toolName)) return failed(unknownToolText(toolName, Object.keys(toolInputs)))
  try {
    return await tools[toolName](options, call)
  } catch (error) {
    call.signal.throwIfAborted()
    const text = error instanceof InvalidInput ? invalidInputText(toolName, error.message) : toolErrorText(error)
    if (text === undefined) throw error
    return failed(text)
  }
}

/** Returns the name of a tool that needs the instance of the agent before it is called. */
export function startsProcess(toolName: string): boolean {
  return toolName === 'execute'
}

/**
 * Ends the process of a call, or prevents its start. Waits for the agent like any call, and for the end of the process
 * at most `waitMs`.
 */
export async function cancelTool({ hosts, agent }: ToolOptions, processId: string, waitMs: number): Promise<void> {
  const { agentId, chatId, instanceId } = agent
  await hosts.call(agentId, { timeoutMs: waitMs + reachMs, instanceId }, (host, _, call) =>
    host.cancel({ id: processId, scope: chatId, waitMs }, call),
  )
}

class InvalidInput extends Error {}

function failed(output: string): ToolOutcome {
  return { output, isError: true }
}

/** Reads the input of a model. No input at all is an empty one. */
function inputOf<T extends ToolName>(tool: T, text: string): ReturnType<(typeof toolInputs)[T]['parse']> {
  let json: unknown
  try {
    json = JSON.parse(text.trim() === '' ? '{}' : text)
  } catch {
    throw new InvalidInput('it is no JSON, or was cut short')
  }
  const parsed = toolInputs[tool].safeParse(json)
  if (!parsed.success) throw new InvalidInput(describeIssues(parsed.error.issues, json))
  return parsed.data as ReturnType<(typeof toolInputs)[T]['parse']> // the schema of the same tool
}

type RunTool = (options: ToolOptions, call: ToolCall) => Promise<ToolOutcome>

const tools: Readonly<Record<ToolName, RunTool>> = {
  async execute({ hosts, agent }, { input: text, processId: id, signal }) {
    const { agentId, chatId: scope, instanceId, cwd } = agent
    const input = inputOf('execute', text)
    checkCommand(input.command)
    const background = input.run_in_background ?? false
    const dir = dirOf(input.workdir, cwd)
    // A repeat, also of another server, attaches to the process that this call has started.
    const { attached } = await hosts.call(agentId, { timeoutMs: reachMs, instanceId, signal }, (host, _, call) =>
      host.start({ id, scope, command: input.command, background, ...(dir !== undefined && { dir }) }, call),
    )
    if (background) {
      return {
        output: `Started as process ${id}. process_output waits for it, process_signal ends it.`,
        isError: false,
      }
    }
    const timeoutMs = input.timeout === undefined ? chatLimits.commandTimeoutMs : input.timeout * 1_000
    const output = await waitFor(hosts, agent, { id, timeoutMs, signal, instanceId, attached })
    return { output: outputText(id, output, dumpNote(input.command)), isError: false }
  },

  async process_output({ hosts, agent }, { input: text, signal }) {
    const { process_id: id, timeout } = inputOf('process_output', text)
    const timeoutMs = timeout === undefined ? chatLimits.commandTimeoutMs : timeout * 1_000
    return { output: outputText(id, await waitFor(hosts, agent, { id, timeoutMs, signal })), isError: false }
  },

  async process_list({ hosts, agent }, { input: text, signal }) {
    inputOf('process_list', text)
    const { agentId, chatId: scope } = agent
    const list = await hosts.call(agentId, { timeoutMs: reachMs, signal }, (host, _, call) =>
      host.list({ scope }, call),
    )
    return { output: listText(list), isError: false }
  },

  async process_signal({ hosts, agent }, { input: text, signal: abort }) {
    const { process_id: id, signal } = inputOf('process_signal', text)
    const { agentId, chatId: scope } = agent
    await hosts.call(agentId, { timeoutMs: reachMs, signal: abort }, (host, _, call) =>
      host.signal({ id, scope, signal }, call),
    )
    return { output: `The signal was sent to process ${id}. process_output shows its end.`, isError: false }
  },
}

/** The agent's own schema has the same rules; here their breach is the model's. */
function checkCommand(command: string): void {
  if (command.includes('\0') || !command.isWellFormed()) {
    throw new InvalidInput('command: must have no U+0000 and no lone surrogate')
  }
  const bytes = utf8Bytes(command)
  if (bytes <= processLimits.maxCommandBytes) return
  throw new InvalidInput(
    `command: has ${bytes} bytes, more than ${processLimits.maxCommandBytes}; write long text to files in parts`,
  )
}

/** The agent resolves a relative directory below its own; one of the call is below that of the chat. */
function dirOf(workdir: string | undefined, cwd: string | null): string | undefined {
  if (workdir === undefined || workdir.startsWith('/') || cwd === null) return workdir ?? cwd ?? undefined
  return `${cwd.replace(/\/$/, '')}/${workdir}`
}

interface Wait {
  id: string
  timeoutMs: number
  signal: AbortSignal
  instanceId?: string | undefined
  /** whether the process was started before; its time so far counts then */
  attached?: boolean | undefined
}

/** Waits for the end of a process, by one call for each 300 s. */
async function waitFor(
  hosts: AgentHosts,
  { agentId, chatId: scope }: ToolAgent,
  { id, timeoutMs, signal, instanceId, attached }: Wait,
): Promise<ProcessOutput> {
  const read = (waitMs: number) =>
    hosts.call(agentId, { timeoutMs: waitMs + reachMs, signal, instanceId }, (host: ProcessHost, _, call) =>
      host.output({ id, scope, waitMs: Math.max(0, waitMs - call.waitedMs) }, call),
    )
  // A wait for a command counts from its start, so another server goes on where the first one was.
  let waitedMs = attached ? (await read(0)).durationMs : 0
  for (;;) {
    const waitMs = Math.max(0, Math.min(Math.ceil(timeoutMs - waitedMs), processLimits.maxWaitMs))
    const output = await read(waitMs)
    waitedMs += waitMs
    if (!output.running || waitedMs >= timeoutMs) return output
  }
}
