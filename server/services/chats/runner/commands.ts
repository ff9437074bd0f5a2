/** The end of commands whose results nobody waits for any more. */
import { errorReasonOf } from '../../../../shared/contract/error-reasons.js'
import { abortablePause } from '../../../../shared/values/abortable.js'
import { cancelTool, startsProcess, type ToolAgent } from '../tools/process-tools.js'
import { type History, type MessageCalls, openStepOf } from './history.js'
import { processIdOf } from './process-id.js'
import type { RunnerParts } from './runner-parts.js'

/**
 * Ends the commands of calls, and prevents the start of those that have not begun. Waits for their end at most
 * `waitMs`; an agent that does not respond costs 0.5 s more, and may come back within half a minute: then its commands
 * end all the same. Failures are logged. Never rejects.
 */
export async function endCommands(
  { hosts, logger }: Pick<RunnerParts, 'hosts' | 'logger'>,
  agent: ToolAgent,
  { messageId, calls }: MessageCalls,
  waitMs: number,
): Promise<void> {
  const { chatId } = agent
  const started = calls.filter(({ toolName }) => startsProcess(toolName))
  if (started.length === 0) return
  const ended = Promise.all(
    started.map(({ toolCallId }) =>
      cancelTool({ hosts, agent }, processIdOf(chatId, messageId, toolCallId), waitMs).catch((error: unknown) => {
        const reason = errorReasonOf(error)
        if (reason !== 'output_gone') logger.warn({ err: error, chatId, reason }, 'a process could not be cancelled')
      }),
    ),
  )
  const over = new AbortController()
  await Promise.race([ended.then(() => over.abort()), abortablePause(waitMs + 500, over.signal)])
}

/** The end of another server's commands is waited for so long: an interrupt that is taken over has 2 s of its 5 s. */
const takenCancelMs = 1_000

/** Ends the commands of a step whose calls were made by an earlier server, or by this one. */
export async function endOpenCommands(
  parts: Pick<RunnerParts, 'hosts' | 'logger'>,
  { row, messages }: History,
): Promise<void> {
  const { id: chatId, agentId, agentInstance: instanceId, cwd } = row
  const step = openStepOf(messages)
  // Without an instance no command was started.
  if (!step || agentId === null || instanceId === null) return
  await endCommands(parts, { agentId, chatId, cwd, instanceId }, step, takenCancelMs)
}
