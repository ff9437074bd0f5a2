/** The user of one chat: sends messages and takes them back, and repeats whatever got no response. */
import { randomUUID } from 'node:crypto'
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { Choice } from '../transport/choice.js'
import type { ChatAccount, SentAccount } from './accounts.js'
import { pause, repeated, taken } from './calls.js'
import { longMark } from './provider.js'

/** Options of {@link write}. */
export interface WriterOptions {
  choice: Choice
  /** clients of the user at each replica */
  clients: readonly BridgeClient[]
  chat: ChatAccount
  messages: number
  /** share of turns with a command that ends only with its turn */
  longShare: number
  /** longest time in which a chat comes to rest */
  restTimeoutMs: number
}

/** Creates a chat and sends its messages. Resolves when the chat is at rest. */
export async function write(options: WriterOptions): Promise<void> {
  const { choice, clients, chat, messages, longShare, restTimeoutMs } = options
  const { id: chatId, tag } = chat
  const call = <T>(work: (chats: BridgeClient['chats']) => Promise<T>) =>
    repeated(() => work(choice.pick(clients).chats))
  await call(chats =>
    chats.create.mutate({
      id: chatId,
      provider: 'stand-in',
      model: 'stand-in-1',
      agent: 'builder',
      system: `You are ${tag}.`,
    }),
  )

  const read = () => call(chats => chats.get.query({ chatId }))

  /** Sends a message, or asks what became of it. */
  async function say(message: SentAccount, whenBusy: 'queue' | 'interrupt' = 'queue'): Promise<void> {
    const parts = [{ type: 'text', text: message.text } as const]
    const { state } = await call(chats => chats.send.mutate({ chatId, id: message.id, parts, whenBusy }))
    message.said.push(state)
  }

  function compose(mark = ''): SentAccount {
    const text = `${tag} message ${chat.sent.length}${mark}`
    const message: SentAccount = { id: randomUUID(), text, state: 'sending', said: [] }
    chat.sent.push(message)
    return message
  }

  async function send(whenBusy: 'queue' | 'interrupt' = 'queue', mark = ''): Promise<SentAccount> {
    const message = compose(mark)
    if (whenBusy === 'interrupt') chat.wasInterrupted = true
    await say(message, whenBusy)
    message.state = 'acknowledged'
    return message
  }

  /** Replaces a message behind which nothing of this writer waits. */
  async function edit(old: SentAccount): Promise<void> {
    const message = compose(' (edited)')
    const parts = [{ type: 'text', text: message.text } as const]
    await call(chats => chats.edit.mutate({ chatId, messageId: old.id, id: message.id, parts }))
    old.state = 'gone'
    old.isEdited = true
    message.state = 'acknowledged'
  }

  /** Moves the last of some messages to the head of the queue. */
  async function promote(last: SentAccount, earlier: readonly SentAccount[]): Promise<void> {
    chat.wasInterrupted = true
    last.mayPrecede = earlier.map(({ id }) => id)
    if (!(await taken(call(chats => chats.promote.mutate({ chatId, id: last.id }))))) return
    const waiting = (await read()).queue.map(({ id }) => id)
    if (waiting.includes(last.id)) last.mustPrecede = waiting.filter(id => id !== last.id)
  }

  async function dequeue(message: SentAccount): Promise<void> {
    if (await taken(call(chats => chats.dequeue.mutate({ chatId, id: message.id })))) message.state = 'gone'
    await say(message)
  }

  async function interrupt(): Promise<void> {
    chat.wasInterrupted = true
    await call(chats => chats.interrupt.mutate({ chatId }))
  }

  /** Interrupts the turn and empties the queue; what became of each message shows when it is sent again. */
  async function clear(messages: readonly SentAccount[]): Promise<void> {
    chat.wasInterrupted = true
    await call(chats => chats.interrupt.mutate({ chatId, clearQueue: true }))
    const waiting = new Set((await read()).queue.map(({ id }) => id))
    for (const message of messages) {
      if (waiting.has(message.id)) message.outlivedClear = true
      await say(message)
      if (message.said.at(-1) === 'dequeued') message.state = 'gone'
    }
  }

  /** Waits until nothing runs or waits. A turn that the provider has rejected is run again. */
  async function rest(): Promise<void> {
    const giveUpAt = performance.now() + restTimeoutMs
    for (;;) {
      const { status, queue, lastError } = await read()
      if (status === 'waiting' && queue.length === 0) return
      if (status === 'error') {
        if (lastError?.reason !== 'rejected') return
        await taken(call(chats => chats.retry.mutate({ chatId })))
      }
      if (performance.now() > giveUpAt) throw new Error(`${tag} is ${status} after ${restTimeoutMs} ms`)
      await pause(100)
    }
  }

  /** Sends some messages at once, of which the last ones wait. */
  async function burst(count: number): Promise<SentAccount[]> {
    const sent: SentAccount[] = []
    for (let left = count; left > 0; left--) sent.push(await send())
    await pause(choice.below(300))
    return sent
  }

  /** A turn whose command ends only with the turn. */
  async function longTurn(): Promise<void> {
    await rest()
    const long = await send('queue', longMark)
    await pause(choice.below(1_500))
    await choice.pick([
      interrupt,
      () => send('interrupt'),
      () => edit(long),
      async () => promote(await send(), []),
      async () => clear([await send()]),
    ])()
    chat.cuts.push(performance.now())
    // A turn that was rejected before the interrupt came must not run again: nothing would end its command.
    await send()
  }

  async function turn(): Promise<void> {
    const kind = choice.next()
    if (kind < 0.1) return promoteLast(await burst(3))
    if (kind < 0.2) return dequeue(choice.pick(await burst(3)))
    if (kind < 0.3) return clear(await burst(3))
    await send(choice.chance(0.15) ? 'interrupt' : 'queue')
    await pause(choice.below(400))
    if (kind < 0.4) await interrupt()
  }

  async function promoteLast(messages: readonly SentAccount[]): Promise<void> {
    const last = messages.at(-1)
    if (last) await promote(last, messages.slice(0, -1))
  }

  for (let left = messages; left > 0; left--) {
    if (choice.chance(longShare)) await longTurn()
    else await turn()
    const then = choice.next()
    if (then < 0.3) continue
    await rest()
    // At rest nothing waits, so the last message is in the history, or was taken back.
    const last = chat.sent.at(-1)
    if (then > 0.9 && last?.state === 'acknowledged') {
      await edit(last)
      await pause(choice.below(300))
    }
  }
  await rest()
}
