/** Chats as a service hands them to a store, with as little said as a test needs. */
import { createHash, randomUUID } from 'node:crypto'
import type { ChatRow, NewMessage, Store } from '../../../../server/store/store.js'

/** A message whose hash is that of its parts. */
export function message(text: string, fields: Partial<NewMessage> = {}): NewMessage {
  const parts = JSON.stringify([{ type: 'text', text }])
  return { id: randomUUID(), role: 'user', parts, contentHash: hashOf(parts), ...fields }
}

export function hashOf(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}

type NewChat = Parameters<Store['createChat']>[0]

export function chatFields(ownerId: string, fields: Partial<NewChat> = {}): NewChat {
  return {
    id: randomUUID(),
    ownerId,
    agentId: null,
    provider: 'demo',
    model: 'm',
    api: 'anthropic-messages',
    title: null,
    system: null,
    cwd: null,
    contentHash: hashOf('content'),
    ...fields,
  }
}

export async function newOwner(store: Store): Promise<string> {
  const id = randomUUID()
  await store.createUser({ id, username: `owner-${id}` })
  return id
}

/** A new chat of a new user, unless the fields name one. */
export async function newChat(store: Store, fields: Partial<NewChat> = {}): Promise<ChatRow> {
  const chat = await store.createChat(chatFields(fields.ownerId ?? (await newOwner(store)), fields))
  if (!chat) throw new Error('the id is taken')
  return chat
}

/** Appends messages, in one change of the history. Returns the row behind it. */
export async function append(store: Store, chatId: string, ...messages: NewMessage[]): Promise<ChatRow> {
  const changed = await store.changeChat(chatId, async chat => {
    for (const one of messages) await chat.append(one)
    await chat.update({ historyChanged: true })
  })
  if (!changed) throw new Error('the chat is unknown')
  return changed.row
}

/** A chat with a turn that any server may run. */
export async function runningChat(store: Store): Promise<ChatRow> {
  const { id } = await newChat(store)
  const changed = await store.changeChat(id, chat => chat.update({ status: 'running' }))
  if (!changed) throw new Error('the chat is unknown')
  return changed.row
}

/** Waits for a notification of a chat, in this store, which `cause` brings. */
export async function notified(store: Store, chatId: string, cause: () => Promise<unknown>): Promise<void> {
  let stop = () => {}
  const notification = new Promise<void>(resolve => {
    stop = store.onChatChange(id => {
      if (id === chatId) resolve()
    })
  })
  await cause()
  await notification
  stop()
}
