/** The tools of a chat with an agent, as the model sees them. Their inputs are the model's, and are checked. */
import { z } from 'zod'
import { chatLimits as limits, processLimits } from '../../../../shared/contract/limits.js'
import type { ChatTool } from '../model.js'

const maxTimeoutSeconds = limits.maxCommandTimeoutMs / 1_000
const defaultTimeoutSeconds = limits.commandTimeoutMs / 1_000

const timeout = z
  .number()
  .min(0)
  .max(maxTimeoutSeconds)
  .optional()
  .describe(
    `Seconds to wait for the end of the command; default ${defaultTimeoutSeconds}, at most ${maxTimeoutSeconds}. ` +
      'The command is not ended: it runs on, and process_output waits further.',
  )

const processId = z.string().min(1).max(processLimits.maxIdLength).describe('The id that execute has returned.')

/** Input schemas of the tools, by name. */
export const toolInputs = {
  execute: z.object({
    command: z.string().min(1).describe('The command line, for sh -c.'),
    timeout,
    workdir: z
      .string()
      .min(1)
      .max(limits.maxCwdLength)
      .optional()
      .describe('The directory of the command: absolute, or below the directory of the chat.'),
    run_in_background: z
      .boolean()
      .optional()
      .describe('Returns at once with the id of the process, for servers and long builds.'),
  }),
  process_output: z.object({ process_id: processId, timeout }),
  process_list: z.object({}),
  process_signal: z.object({
    process_id: processId,
    signal: z
      .enum(['terminate', 'kill'])
      .describe('terminate asks the process to end (SIGTERM); kill ends it (SIGKILL).'),
  }),
} as const

/** The name of a tool. */
export type ToolName = keyof typeof toolInputs

const descriptions: Readonly<Record<ToolName, string>> = {
  execute:
    'Runs a shell command and returns its output, stdout and stderr together, with the exit code and the time. There ' +
    'is no terminal and no input. Of a long output the beginning and the end are returned. A command that has not ' +
    'ended after the timeout runs on as a process, whose id the result names.',
  process_output:
    'Waits for the end of a process, at most for the timeout, and returns its output so far. One call waits for up to ' +
    `${maxTimeoutSeconds} seconds, so no loop of calls is needed.`,
  process_list: 'Lists the processes of this chat: the newest ten, running ones first.',
  process_signal: 'Ends a process and its children.',
}

/** The tools of a chat with an agent. */
export const chatTools: readonly ChatTool[] = (Object.keys(toolInputs) as ToolName[]).map(name => ({
  // the keys of the table
  name,
  description: descriptions[name],
  inputSchema: schemaOf(toolInputs[name]),
}))

function schemaOf(schema: z.ZodType): ChatTool['inputSchema'] {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io: 'input' })
  return { ...json, type: 'object' }
}

/** Returns whether a text is the name of a tool. */
export function isToolName(name: string): name is ToolName {
  return Object.hasOwn(toolInputs, name)
}
