/** The user of one chat: sends messages, interrupts, edits, and repeats whatever got no response. */
import { randomUUID } from 'node:crypto'
import type { BridgeClient } from '../../../client/bridge-client.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import type { Choice } from '../transport/choice.js'
import type { ChatAccount, SentAccount } from './accounts.js'

/** Options of {@link write}. */
export interface WriterOptions {
  choice: Choice
  /** clients of the user at each replica */
  clients: readonly BridgeClient[]
  chat: ChatAccount
  messages: number
  /** longest time in which a chat comes to rest */
  restTimeoutMs: number
}

/** Creates a chat and sends its messages. Resolves when the chat is at rest. */
export async function write({ choice, clients, chat, messages, restTimeoutMs }: WriterOptions): Promise<void> {
  const { id: chatId, tag } = chat
  const call = <T>(work: (client: BridgeClient) => Promise<T>) => repeated(() => work(choice.pick(clients)))
  await call(({ chats }) =>
    chats.create.mutate({
      id: chatId,
      provider: 'stand-in',
      model: 'stand-in-1',
      agent: 'builder',
      system: `You are ${tag}.`,
    }),
  )

  async function send(whenBusy: 'queue' | 'interrupt'): Promise<void> {
    const message: SentAccount = { id: randomUUID(), text: `${tag} message ${chat.sent.length}`, state: 'sending' }
    chat.sent.push(message)
    if (whenBusy === 'interrupt') chat.wasInterrupted = true
    const parts = [{ type: 'text', text: message.text } as const]
    await call(({ chats }) => chats.send.mutate({ chatId, id: message.id, parts, whenBusy }))
    message.state = 'acknowledged'
  }

  /** Replaces the last message, behind which nothing of this writer waits. */
  async function edit(): Promise<void> {
    const old = chat.sent.at(-1)
    if (!old) return
    const message: SentAccount = {
      id: randomUUID(),
      text: `${tag} message ${chat.sent.length} (edited)`,
      state: 'sending',
    }
    chat.sent.push(message)
    const parts = [{ type: 'text', text: message.text } as const]
    await call(({ chats }) => chats.edit.mutate({ chatId, messageId: old.id, id: message.id, parts }))
    old.state = 'gone'
    message.state = 'acknowledged'
  }

  const rest = () => atRest(() => call(({ chats }) => chats.get.query({ chatId })), restTimeoutMs, chat)

  for (let left = messages; left > 0; left--) {
    await send(choice.chance(0.15) ? 'interrupt' : 'queue')
    const then = choice.next()
    await pause(choice.below(400))
    if (then < 0.2) continue
    if (then < 0.3) {
      chat.wasInterrupted = true
      await call(({ chats }) => chats.interrupt.mutate({ chatId }))
    }
    if (then > 0.4) await rest()
    // At rest or not: the message is stored as soon as nothing waits.
    if (then > 0.9) {
      await edit()
      await pause(choice.below(300))
    }
  }
  await rest()
}

/** Reads a chat until it is at rest and nothing waits; a failed turn ends the wait too. */
async function atRest(
  read: () => Promise<{ status: string; queue: unknown[] }>,
  timeoutMs: number,
  { tag }: ChatAccount,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs
  for (;;) {
    const { status, queue } = await read()
    if (status === 'error' || (status === 'waiting' && queue.length === 0)) return
    if (performance.now() > giveUpAt) throw new Error(`${tag} is ${status} after ${timeoutMs} ms`)
    await pause(100)
  }
}

/** Repeats a call that got no response, or that a server could not serve, as every procedure of chats allows. */
async function repeated<T>(call: () => Promise<T>): Promise<T> {
  for (let left = 200; ; left--) {
    try {
      return await call()
    } catch (error) {
      if (left === 0 || !passing.has(errorCodeOf(error) ?? 'CONNECTION')) throw error
    }
    await pause(100)
  }
}

const passing = new Set([
  'CONNECTION',
  'SERVICE_UNAVAILABLE',
  'TIMEOUT',
  'INTERNAL_SERVER_ERROR',
  'CLIENT_CLOSED_REQUEST',
])

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
