/** `aibridge chats show`: a chat with all of its messages. */
import type { ChatMessage, ChatMessages } from '../../../shared/contract/chats.js'
import { printFields, printResult } from '../../process/output.js'
import { callChats } from '../common/call-chats.js'
import type { UserOptions } from '../common/options.js'
import type { ChatsClient } from '../common/user-client.js'
import { ChatPrinter } from './chat-printer.js'

/** Prints a chat with its messages. */
export async function showChat(chatId: string, options: UserOptions): Promise<void> {
  const shown = await callChats(options, async client => ({
    chat: await client.get.query({ chatId }),
    messages: await allMessages(client, chatId),
  }))
  printResult(options, shown, ({ chat, messages }) => {
    const { queue, lastError, retry, historyVersion: _history, attempt: _attempt, version: _version, ...fields } = chat
    printFields({
      ...fields,
      queue: queue.length,
      retry: retry && `${retry.reason}, at ${retry.at.toISOString()}`,
      error: lastError && `${lastError.reason}: ${lastError.message}`,
    })
    const printer = new ChatPrinter()
    for (const message of messages) {
      process.stdout.write('\n')
      printer.message(message)
    }
  })
}

async function allMessages(client: ChatsClient, chatId: string): Promise<ChatMessage[]> {
  const messages: ChatMessage[] = []
  for (let after: number | null = 0; after !== null; ) {
    const page: ChatMessages = await client.messages.query({ chatId, after })
    messages.push(...page.messages)
    after = page.next
  }
  return messages
}
