/** A user's parts as text for a model. */

import type { StoredPart } from '../../server/services/chats/model.js'
import type { FileReferencePart } from '../../shared/contract/chats.js'

/** Returns the text of a user's part; undefined for a part without words. */
export function userTextOf(part: StoredPart): string | undefined {
  if (part.type === 'file-reference') return fileBlock(part)
  return part.type === 'text' && part.text !== '' ? part.text : undefined
}

/**
 * Returns lines of a file as a labelled block in fences. The fence is longer than any run of backticks in the content,
 * so no content ends its block.
 */
export function fileBlock({ name, startLine, endLine, content }: FileReferencePart): string {
  const longest = (content.match(/`+/g) ?? []).reduce((most, run) => Math.max(most, run.length), 0)
  const fence = '`'.repeat(Math.max(3, longest + 1))
  const lines = startLine === endLine ? `line ${startLine}` : `lines ${startLine}-${endLine}`
  return `File ${JSON.stringify(name)}, ${lines}:\n${fence}\n${content}${content.endsWith('\n') ? '' : '\n'}${fence}`
}
