/** `aibridge chats`: conversations with a model that run on the server. */
import { type Command, Option } from 'commander'
import { type Chat, type ChatApi, chatApis } from '../../shared/contract/chats.js'
import { type Column, print, printResult, printTable, visible } from '../process/output.js'
import type { NewChatOptions, SendOptions, WatchOptions } from './chats/turns.js'
import { callChats } from './common/call-chats.js'
import { wholeNumber } from './common/option-values.js'
import { type UserOptions, withUserOptions } from './common/options.js'

interface ListOptions extends UserOptions {
  limit?: number
  cursor?: string
  archived?: boolean
}

/** Adds `chats new|send|watch|list|show|interrupt`. */
export function addChatsCommands(program: Command): void {
  const chats = program.command('chats').description('conversations with a model that run on the server')

  withUserOptions(
    chats.command('new [message]').description('begin a chat, print its id, and show the response as it streams'),
  )
    .option('--provider <name>', 'the provider of the model', 'demo')
    .option('--model <model>', 'the name of the model at the provider; the provider demo needs none')
    .addOption(new Option('--api <api>', 'the API of the provider, if not its first one').choices([...chatApis]))
    .option('--agent <agent>', 'id or name of an agent of yours, on which the model runs commands')
    .option('--cwd <dir>', 'where commands run: absolute, or below the directory of the agent')
    .option('--system <text>', 'instructions for the model')
    .option('--title <text>', 'a title for lists')
    .option('--no-watch', 'do not wait for the response')
    .action(async (message: string | undefined, options: NewChatOptions & { api?: ChatApi }) => {
      const { newChat } = await import('./chats/turns.js')
      await newChat(message, options)
    })

  withUserOptions(
    chats.command('send <chat> <message>').description('send a message, and show the response as it streams'),
  )
    .option('--interrupt', 'interrupt a running turn; otherwise the message waits for its end')
    .option('--no-watch', 'do not wait for the response')
    .action(async (chatId: string, message: string, options: SendOptions) => {
      const { sendMessage } = await import('./chats/turns.js')
      await sendMessage(chatId, message, options)
    })

  withUserOptions(chats.command('watch <chat>').description('show a chat from its beginning until it is at rest'))
    .option('--follow', 'go on when the chat is at rest, until Ctrl-C')
    .option('--since <event>', 'begin behind this event id, as --json prints them')
    .action(async (chatId: string, options: WatchOptions) => {
      const { watchChat } = await import('./chats/turns.js')
      await watchChat(chatId, options)
    })

  withUserOptions(chats.command('list').description('your chats, the last changed one first'))
    .option('--limit <n>', 'rows of this page, at most 200 (default: 50)', wholeNumber)
    .option('--cursor <cursor>', 'the nextCursor of the page before')
    .option('--archived', 'the archived ones')
    .action(async ({ limit, cursor, archived = false, ...options }: ListOptions) => {
      const input = { archived, ...(limit !== undefined && { limit }), ...(cursor !== undefined && { cursor }) }
      const page = await callChats(options, client => client.list.query(input))
      printResult(options, page, () => {
        printTable(page.chats, columns, 'no chats')
        if (page.nextCursor !== null) print(`more: --cursor ${page.nextCursor}`)
      })
    })

  withUserOptions(chats.command('show <chat>').description('a chat with all of its messages')).action(
    async (chatId: string, options: UserOptions) => {
      const { showChat } = await import('./chats/show.js')
      await showChat(chatId, options)
    },
  )

  withUserOptions(chats.command('interrupt <chat>').description('end the running turn; the response so far stays'))
    .option('--clear-queue', 'drop the waiting messages too')
    .action(async (chatId: string, { clearQueue = false, ...options }: UserOptions & { clearQueue?: boolean }) => {
      const chat = await callChats(options, async client => {
        await client.interrupt.mutate({ chatId, clearQueue })
        return client.get.query({ chatId })
      })
      printResult(options, chat, () => print(`chat ${visible(chat.id)} is ${chat.status}`))
    })
}

const columns: Column<Omit<Chat, 'queue'>>[] = [
  ['ID', chat => chat.id],
  ['CHANGED', chat => chat.updatedAt],
  ['STATE', chat => (chat.status === 'error' ? `error: ${chat.lastError?.reason ?? ''}` : chat.status)],
  ['PROVIDER', chat => chat.provider],
  ['MODEL', chat => chat.model],
  ['TITLE', chat => chat.title],
]
