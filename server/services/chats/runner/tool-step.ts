/** The calls of tools of one response, in parallel. */
import { abortable } from '../../../../shared/values/abortable.js'
import type { EpisodeWriter } from '../episodes.js'
import type { StoredPart } from '../model.js'
import { runTool, startsProcess, type ToolAgent, type ToolOutcome } from '../tools/process-tools.js'
import { toolErrorText, tooManyCallsText, unknownToolText } from '../tools/tool-errors.js'
import { endCommands } from './commands.js'
import type { MessageCalls } from './history.js'
import { processIdOf } from './process-id.js'
import type { RunnerParts } from './runner-parts.js'

type Call = MessageCalls['calls'][number]
type Result = StoredPart & { type: 'tool-result' }

/** The open calls of a message, and the place where they run. */
export interface ToolStep extends MessageCalls {
  chatId: string
  /** undefined for a chat without an agent */
  agent: Omit<ToolAgent, 'instanceId' | 'chatId'> | undefined
  /** ends the calls; see {@link runToolStep} */
  signal: AbortSignal
  /** Returns the calls whose commands end too, among those without a result; called when the signal has aborted. */
  callsToEnd(open: MessageCalls): Promise<MessageCalls['calls']>
  /** the agent's process that an earlier server has noted for this step */
  instanceId: string | null
  /** Stores the agent's process before the first start. Returns false if the run has ended. */
  noteInstance(instanceId: string): Promise<boolean>
}

/** time for the agent to be reached before the first command of a step */
const reachMs = 30_000
/** The end of cancelled processes is waited for so long: an interrupt has 5 s in all. */
const cancelMs = 2_000

/**
 * Runs the calls and returns their results in the order of the calls; undefined if the run has ended meanwhile. When
 * the signal aborts, the results of open calls are `cancelled`, at most 2.5 s later, also if the agent ignores it.
 */
export async function runToolStep(
  parts: Pick<RunnerParts, 'hosts' | 'logger' | 'limits'>,
  step: ToolStep,
  episode: EpisodeWriter,
): Promise<Result[] | undefined> {
  const { calls, signal } = step
  const instance = await instanceOf(parts, step)
  if (instance === undefined) return undefined
  const results = await Promise.all(
    calls.map(async (call, index): Promise<Result> => {
      const outcome = await outcomeOf(parts, step, call, index, instance).catch((error: unknown) => {
        if (!signal.aborted) parts.logger.error({ err: error, chatId: step.chatId }, 'a tool failed')
        return signal.aborted ? cancelled : internalFailure
      })
      const { toolCallId, toolName } = call
      const result: Result = { type: 'tool-result', toolCallId, toolName, ...outcome }
      episode.add({ role: 'tool', index, part: result })
      return result
    }),
  )
  if (!signal.aborted || !step.agent || !('id' in instance) || instance.id === null) return results
  const open = { messageId: step.messageId, calls: calls.filter((_, index) => results[index]?.cancelled) }
  const ended = { ...open, calls: await step.callsToEnd(open) }
  await endCommands(parts, { ...step.agent, chatId: step.chatId, instanceId: instance.id }, ended, cancelMs)
  return results
}

/** The agent's process for the commands of a step, or the text for calls that cannot be made. */
type Instance = { id: string | null } | { fault: string }

async function instanceOf({ hosts }: Pick<RunnerParts, 'hosts'>, step: ToolStep): Promise<Instance | undefined> {
  const { agent, calls, signal, instanceId } = step
  if (instanceId !== null) return { id: instanceId }
  if (!agent || !calls.some(({ toolName }) => startsProcess(toolName))) return { id: null }
  let found: string
  try {
    const reached = hosts.call(agent.agentId, { timeoutMs: reachMs, signal }, async (_host, instance) => instance)
    found = await abortable(reached, signal)
  } catch (error) {
    if (signal.aborted) return { fault: cancelled.output }
    const fault = toolErrorText(error)
    if (fault === undefined) throw error
    return { fault }
  }
  return (await step.noteInstance(found)) ? { id: found } : undefined
}

type Outcome = ToolOutcome & { cancelled?: true }

const cancelled: Outcome = {
  output: 'The call was cancelled before its result was known.',
  isError: true,
  cancelled: true,
}
const internalFailure: Outcome = {
  output: 'The tool failed inside the server; whether the call had an effect is unknown. Tell the user.',
  isError: true,
}

async function outcomeOf(
  { hosts, limits }: Pick<RunnerParts, 'hosts' | 'limits'>,
  { chatId, messageId, agent, signal }: ToolStep,
  { toolCallId, toolName, input }: Call,
  index: number,
  instance: Instance,
): Promise<Outcome> {
  if (!agent) return { output: unknownToolText(toolName, []), isError: true }
  if (index >= limits.maxToolCalls) return { output: tooManyCallsText, isError: true }
  if (startsProcess(toolName) && 'fault' in instance) return { output: instance.fault, isError: true }
  const instanceId = 'id' in instance ? (instance.id ?? '') : ''
  const options = { hosts, agent: { ...agent, chatId, instanceId } }
  const processId = processIdOf(chatId, messageId, toolCallId)
  // A tool that ignores the signal is not waited for.
  return abortable(runTool(options, { toolName, input, processId, signal }), signal)
}
