/** `aibridge chats`: conversations with a model that run on the server. */
import { Argument, type Command, Option } from 'commander'
import { type Chat, type ChatMessage, chatApis } from '../../shared/contract/chats.js'
import { type Column, print, printFields, printJson, printResult, printTable, visible } from '../process/output.js'
import { wholeNumber } from './common/option-values.js'
import { type UserOptions, withUserOptions } from './common/user-client.js'

interface NewOptions extends UserOptions {
  provider: string
  model?: string
  api?: Chat['api']
  agent?: string
  cwd?: string
  system?: string
  title?: string
  watch: boolean
}

interface SendOptions extends UserOptions {
  interrupt?: boolean
  watch: boolean
}

/** Adds `chats new|send|watch|list|show|interrupt`. */
export function addChatsCommands(program: Command): void {
  const chats = program.command('chats').description('conversations with a model that run on the server')
  const noWatch = () => new Option('--no-watch', 'do not wait for the response')

  withUserOptions(chats.command('new').description('begin a chat, and show the response as it streams'))
    .addArgument(new Argument('[message]', 'the first message; without one, the chat waits for `chats send`'))
    .option('--provider <name>', 'the provider of the model', 'demo')
    .option('--model <model>', 'the name of the model at the provider; demo needs none')
    .addOption(new Option('--api <api>', "of the provider's APIs, another one than the first").choices([...chatApis]))
    .option('--agent <agent>', 'id or name of an agent of yours, on which the model runs commands')
    .option('--cwd <dir>', 'directory of commands: absolute, or below the directory of the agent')
    .option('--system <text>', 'instructions for the model')
    .option('--title <text>', 'a title for lists')
    .addOption(noWatch())
    .action(async (message: string | undefined, options: NewOptions) => {
      const { newChat } = await import('./common/run-chat.js')
      await newChat(message, options)
    })

  withUserOptions(chats.command('send <chat> <message>').description('send a message, and show the response'))
    .option('--interrupt', 'interrupt a running turn; else the message waits for its end')
    .addOption(noWatch())
    .action(async (chatId: string, message: string, options: SendOptions) => {
      const { sendMessage } = await import('./common/run-chat.js')
      await sendMessage(chatId, message, options)
    })

  withUserOptions(
    chats.command('watch <chat>').description('show a chat from its beginning, and what comes, until it is at rest'),
  )
    .option('--follow', 'go on when the chat is at rest')
    .option('--since <event>', 'an event id that --json has printed: begin behind it')
    .action(async (chatId: string, options: UserOptions & { follow?: boolean; since?: string }) => {
      const { watchChat } = await import('./common/run-chat.js')
      await watchChat(chatId, options)
    })

  withUserOptions(chats.command('list').description('your chats, the last changed one first'))
    .option('--limit <n>', 'number of chats', wholeNumber)
    .option('--archived', 'the archived ones')
    .action(async ({ limit, archived = false, ...options }: UserOptions & { limit?: number; archived?: boolean }) => {
      const { withUser } = await import('./common/user-client.js')
      const input = { archived, ...(limit !== undefined && { limit }) }
      const { chats: list } = await withUser(options, client => client.list.query(input))
      printResult(options, list, () => printTable(list, columns, 'no chats yet; begin one with: chats new MESSAGE'))
    })

  withUserOptions(chats.command('show <chat>').description('a chat with all of its messages')).action(
    async (chatId: string, options: UserOptions) => {
      const { withUser } = await import('./common/user-client.js')
      const shown = await withUser(options, async client => {
        const chat = await client.get.query({ chatId })
        const messages: ChatMessage[] = []
        for (let after: number | null = 0; after !== null; ) {
          const page: Awaited<ReturnType<typeof client.messages.query>> = await client.messages.query({ chatId, after })
          messages.push(...page.messages)
          after = page.next
        }
        return { chat, messages }
      })
      if (options.json) return printJson(shown)
      const { MessagePrinter } = await import('./common/run-chat.js')
      const { queue, system, lastError, retry, ...fields } = shown.chat
      printFields({ ...fields, waiting: queue.length, error: lastError && `${lastError.reason}: ${lastError.message}` })
      const printer = new MessagePrinter()
      for (const message of shown.messages) printer.message(message)
    },
  )

  withUserOptions(chats.command('interrupt <chat>').description('end the running turn; the response so far stays'))
    .option('--clear-queue', 'drop the waiting messages too')
    .action(async (chatId: string, { clearQueue = false, ...options }: UserOptions & { clearQueue?: boolean }) => {
      const { withUser } = await import('./common/user-client.js')
      await withUser(options, client => client.interrupt.mutate({ chatId, clearQueue }))
      printResult(options, { id: chatId }, () => print(`interrupted chat ${visible(chatId)}`))
    })
}

const columns: Column<Omit<Chat, 'queue'>>[] = [
  ['ID', chat => chat.id],
  ['CHANGED', chat => chat.updatedAt],
  ['STATE', chat => (chat.status === 'error' ? (chat.lastError?.reason ?? 'error') : chat.status)],
  ['PROVIDER', chat => chat.provider],
  ['MODEL', chat => chat.model],
  ['TITLE', chat => chat.title],
]
