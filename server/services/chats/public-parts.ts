/** The one way out of the server for parts: copies of the fields that are for everybody. */
import type { ChatPart } from '../../../shared/contract/chats.js'
import type { StoredPart } from './model.js'

/** Copies a part without its internal fields: each field that goes out is named here. */
export function publicPart(part: StoredPart): ChatPart {
  switch (part.type) {
    case 'text':
    case 'reasoning':
      return { type: part.type, text: part.text }
    case 'tool-call':
      return { type: part.type, toolCallId: part.toolCallId, toolName: part.toolName, input: part.input }
    case 'tool-result': {
      const { type, toolCallId, toolName, output, isError, cancelled } = part
      return { type, toolCallId, toolName, output, isError, ...(cancelled && { cancelled }) }
    }
    case 'file-reference': {
      const { type, name, startLine, endLine, content } = part
      return { type, name, startLine, endLine, content }
    }
    case 'source':
      return { type: part.type, url: part.url, ...(part.title !== undefined && { title: part.title }) }
  }
}

/** Copies parts without their internal fields, and without parts that have nothing else. */
export function publicParts(parts: readonly StoredPart[]): ChatPart[] {
  return parts.filter(part => part.type !== 'reasoning' || part.text !== '').map(publicPart)
}
