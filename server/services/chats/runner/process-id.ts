import { createHash } from 'node:crypto'

/**
 * Returns the id of the process that a call of a tool starts. It follows from the call, so the same call means the same
 * process for every server.
 */
export function processIdOf(chatId: string, messageId: string, toolCallId: string): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([chatId, messageId, toolCallId]))
    .digest('hex')
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-${digest.slice(12, 16)}-${digest.slice(16, 20)}-${digest.slice(20, 32)}`
}
