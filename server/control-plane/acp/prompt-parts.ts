/** Prompts of ACP clients as parts of a message. */
import { z } from 'zod'
import type { UserPart } from '../../../shared/contract/chats.js'
import { chatLimits } from '../../../shared/contract/limits.js'
import { cutToLength } from '../../../shared/values/text.js'

/** The blocks that `initialize` promises: text, links, and embedded text. */
const block = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({ type: z.literal('resource_link'), uri: z.string(), name: z.string() }),
  z.object({ type: z.literal('resource'), resource: z.object({ uri: z.string(), text: z.string() }) }),
])

/** The `prompt` of `session/prompt`. */
export const promptBlocks = z.array(block).min(1).max(chatLimits.maxParts)

/** Returns the parts of a message: embedded text becomes a reference to a file. */
export function partsOfPrompt(blocks: z.output<typeof promptBlocks>): UserPart[] {
  return blocks.map((part): UserPart => {
    if (part.type === 'text') return { type: 'text', text: part.text }
    if (part.type === 'resource_link') return { type: 'text', text: `[${part.name}](${part.uri})` }
    const { uri, text } = part.resource
    const name = cutToLength(uri, chatLimits.maxFileNameLength) || 'text'
    return { type: 'file-reference', name, startLine: 1, endLine: Math.max(1, text.split('\n').length), content: text }
  })
}
