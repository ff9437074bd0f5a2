/** The result of a hidden call as a block of the user's message. */
import type { ToolResult, ToolResultPart } from '../../mcp/injected-tool.js'

/** The images that the API takes (https://docs.anthropic.com/en/docs/build-with-claude/vision). */
const imageTypes = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp'])

/** Returns the JSON text of a `tool_result`. */
export function toolResultText(callId: string, { isError, parts }: ToolResult): string {
  const content = parts.map(part => contentOf(part, isError)).filter(part => part !== undefined)
  return JSON.stringify({
    type: 'tool_result',
    tool_use_id: callId,
    // Texts of blanks are rejected.
    content: content.length > 0 ? content : [{ type: 'text', text: '(no content)' }],
    ...(isError && { is_error: true }),
  })
}

/** Errors have texts only: the API rejects an image in one. */
function contentOf(part: ToolResultPart, isError: boolean): object | undefined {
  if (part.type === 'text') return part.text.trim() === '' ? undefined : { type: 'text', text: part.text }
  const { mimeType, base64 } = part
  if (isError || !imageTypes.has(mimeType)) return { type: 'text', text: `(an image of type ${mimeType} is left out)` }
  return { type: 'image', source: { type: 'base64', media_type: mimeType, data: base64 } }
}
