/** A tool of an MCP server as the model sees it, and the result of a call. */
import type { PinnedTool } from '../../../shared/contract/conversations.js'

/** Begins the name of every injected tool. */
export const injectedPrefix = 'bmcp_'

/** One tool as offered to the model, for the life of a conversation. */
export type InjectedTool = PinnedTool

/** A part of a result. */
export type ToolResultPart = { type: 'text'; text: string } | { type: 'image'; mimeType: string; base64: string }

/** The result of a call, within the bounds: what the model gets, and what is recorded. */
export interface ToolResult {
  isError: boolean
  /** never empty: an empty result is a note */
  parts: ToolResultPart[]
  /** the reason of a failure as it is recorded, which may say more than the model gets */
  error?: string | undefined
  durationMs: number
}
