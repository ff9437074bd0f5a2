/** Results of hidden calls in the shapes of OpenAI's APIs, which have no flag for errors. */
import type { JsonValue } from '../../../../shared/values/text.js'
import type { ToolResult } from '../../mcp/injected-tool.js'

/** Returns a result as text; images, which the message of a tool cannot hold in Chat, become notes. */
export function resultText(result: ToolResult): string {
  const texts = result.parts.map(part => (part.type === 'text' ? part.text : `[image of type ${part.mimeType}]`))
  return marked(result, texts.join('\n'))
}

/** Returns a result as the output of a call of Responses: text, or parts if there are images. */
export function resultOutput(result: ToolResult): JsonValue {
  if (result.parts.every(part => part.type === 'text')) return resultText(result)
  return result.parts.map((part, index) =>
    part.type === 'text'
      ? { type: 'input_text', text: index === 0 ? marked(result, part.text) : part.text }
      : { type: 'input_image', image_url: `data:${part.mimeType};base64,${part.base64}` },
  )
}

function marked({ isError }: ToolResult, text: string): string {
  return isError ? `Error: ${text}` : text
}
