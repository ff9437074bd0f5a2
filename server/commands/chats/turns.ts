/** `aibridge chats new|send|watch`: turns of a chat as they run, on a terminal or as lines of JSON. */
import { randomUUID } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { ChatApi } from '../../../shared/contract/chats.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { invalid } from '../../config/config-error.js'
import { print, printJson } from '../../process/output.js'
import { callChats } from '../common/call-chats.js'
import type { UserOptions } from '../common/options.js'
import { showEvents } from './show-events.js'

/** Options of `chats new`. */
export interface NewChatOptions extends UserOptions {
  provider: string
  model?: string
  api?: ChatApi
  agent?: string
  cwd?: string
  system?: string
  title?: string
  watch: boolean
}

/** Options of `chats send`. */
export interface SendOptions extends UserOptions {
  interrupt?: boolean
  watch: boolean
}

/** Options of `chats watch`. */
export interface WatchOptions extends UserOptions {
  follow?: boolean
  since?: string
}

/**
 * Begins a chat, prints its id, and shows the turn of its first message.
 * @throws RpcError if the turn fails; ExitWith if a signal ends the watch
 */
export async function newChat(message: string | undefined, options: NewChatOptions): Promise<void> {
  const { provider, model = modelOf(provider), api, agent, cwd, system, title, watch, json } = options
  const id = uuidv7()
  const first = message === undefined ? undefined : { id: randomUUID(), parts: partsOf(message) }
  await callChats(options, async client => {
    const chat = await client.create.mutate({ id, provider, model, api, agent, cwd, system, title, message: first })
    const onReady = () => (json ? printJson(chat) : print(id))
    if (first && watch) await showEvents(client, { chatId: id, from: first.id, onReady, ...shownAs(options) })
    else onReady()
  })
}

/**
 * Sends a message, and shows its turn.
 * @throws RpcError if the turn fails, or the message is taken out of the queue; ExitWith if a signal ends the watch
 */
export async function sendMessage(chatId: string, message: string, options: SendOptions): Promise<void> {
  const { interrupt = false, watch, json } = options
  const id = randomUUID()
  await callChats(options, async client => {
    const whenBusy = interrupt ? 'interrupt' : 'queue'
    const sent = await client.send.mutate({ chatId, id, parts: partsOf(message), whenBusy })
    if (json) printJson({ id, ...sent })
    else if (sent.state === 'queued') print('the message waits for the running turn')
    if (watch) await showEvents(client, { chatId, from: id, ...shownAs(options) })
  })
}

/**
 * Shows a chat from its beginning, or behind an event, until it is at rest.
 * @throws RpcError if its last turn has failed; ExitWith if a signal ends the watch
 */
export async function watchChat(chatId: string, { follow = false, since, ...options }: WatchOptions): Promise<void> {
  await callChats(options, client => showEvents(client, { chatId, since, isEndless: follow, ...shownAs(options) }))
}

function shownAs({ json = false }: UserOptions): { json: boolean } {
  return { json }
}

/** The provider `demo` takes any name. */
function modelOf(provider: string): string {
  if (provider === 'demo') return 'demo'
  throw invalid(`--model: is missing; the provider ${provider} needs the name of a model`)
}

function partsOf(message: string) {
  if (message === '') throw new RpcError('BAD_REQUEST', 'the message is empty', { reason: 'config_invalid' })
  return [{ type: 'text' as const, text: message }]
}
