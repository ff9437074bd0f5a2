/** Errors of tools as text for a model: the failure, and the next step. */
import { type ErrorReason, errorReasonOf } from '../../../../shared/contract/error-reasons.js'
import { chatLimits, processLimits } from '../../../../shared/contract/limits.js'
import { errorCodeOf } from '../../../../shared/rpc/errors.js'
import { cleanText, cutToLength } from '../../../../shared/values/text.js'

/** Reason → the next step. */
const nextSteps: Readonly<Partial<Record<ErrorReason, string>>> = {
  dir_not_found: 'Name a directory that exists in workdir, or create the directory first.',
  not_started: 'Shorten the command, or write it to a script and run the script.',
  too_many_processes: `At most ${processLimits.maxRunning} processes run at once: end some with process_signal; process_list shows them.`,
  unknown_process: 'process_list shows the processes of this chat.',
  not_running: 'The process has ended; process_output returns its output.',
  output_gone: 'Run the command again if its output is needed.',
  cancelled: 'Run the command with a new call.',
  agent_unreachable:
    'The machine for commands is not connected. Tell the user, who can start it with aibridge agent, and do not repeat the call before.',
  agent_restarted:
    'The agent was started anew while the command was open: whether the command has run to its end is unknown. Check the state of the machine before running it again.',
  agent_invalid: 'The agent did not respond as it should. Tell the user.',
}

/** Returns the text of a failed call of an agent; undefined for an error that is no failure of the agent. */
export function toolErrorText(error: unknown): string | undefined {
  const reason = errorReasonOf(error)
  const code = errorCodeOf(error)
  if (!(error instanceof Error) || (code === undefined && reason === undefined)) return undefined
  const step = reason && nextSteps[reason]
  const message = cutToLength(cleanText(error.message), 1_000)
  if (step !== undefined) return `${message}. ${step}`
  if (code === 'TIMEOUT') return `${message}. The agent did not respond in time; repeat the call, or tell the user.`
  return `${message}. Change the input, or tell the user.`
}

/** Returns the text for an input that breaks the tool's schema. */
export function invalidInputText(toolName: string, fault: string): string {
  return `The input of ${toolName} is invalid: ${fault}. Call the tool again with an input that fits its schema.`
}

/** Returns the text for an unknown tool. */
export function unknownToolText(toolName: string, names: readonly string[]): string {
  const known = names.length > 0 ? `The tools are: ${names.join(', ')}.` : 'This chat has no tools: it has no agent.'
  return `No tool is named ${JSON.stringify(cutToLength(toolName, 100))}. ${known}`
}

/** The text for a call that comes after too many others of one response. */
export const tooManyCallsText = `A response takes at most ${chatLimits.maxToolCalls} calls of tools; this one was not made. Call the tool again.`
