/** The parameters of the methods that the agent behind `/acp` has. */
import { z } from 'zod'
import { chatApis } from '../../../shared/contract/chats.js'
import { uuid } from '../../../shared/contract/fields.js'
import { chatLimits } from '../../../shared/contract/limits.js'
import { describeIssues } from '../../services/check-input.js'
import { AgentError, codes, unknownSession } from './agent-errors.js'
import { promptBlocks } from './prompt-parts.js'

const meta = z
  .object({
    provider: z.string().optional(),
    model: z.string().optional(),
    api: z.enum(chatApis).optional(),
    agentId: z.string().optional(),
    system: z.string().optional(),
  })
  .nullish()

export const initializeParams = z.object({ protocolVersion: z.int() })
export const newParams = z.object({
  cwd: z.string().min(1).max(chatLimits.maxCwdLength),
  mcpServers: z.array(z.unknown()).max(0, 'chats take no MCP servers of the client').nullish(),
  _meta: meta,
})
export const sessionParams = z.object({ sessionId: z.string() })
export const openParams = sessionParams.extend({ mcpServers: newParams.shape.mcpServers })
export const promptParams = sessionParams.extend({ prompt: promptBlocks })
export const listParams = z.object({ cursor: z.string().nullish() }).nullish()

/** Returns checked parameters. @throws AgentError for others */
export function read<S extends z.ZodType>(schema: S, params: unknown): z.output<S> {
  const result = schema.safeParse(params)
  if (result.success) return result.data
  throw new AgentError(codes.invalidParams, describeIssues(result.error.issues, params))
}

/** Returns the chat of a session. @throws AgentError for an id that no chat can have */
export function chatIdOf(sessionId: string): string {
  if (isChatId(sessionId)) return sessionId
  throw unknownSession()
}

/** Whether a chat may have this id: sessions have the ids of their chats. */
export function isChatId(sessionId: string): boolean {
  const id = uuid.safeParse(sessionId)
  return id.success && id.data === sessionId
}
