/** The transitions of a chat that its user makes, each within one change of the chat. */
import type { EditMessage, SendMessage, SentMessage } from '../../../shared/contract/chats.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { chatLimits } from '../../../shared/contract/limits.js'
import type { RpcError } from '../../../shared/rpc/errors.js'
import { utf8Bytes } from '../../../shared/values/text.js'
import type { ChatChange, KnownMessage, QueuedRow } from '../../store/store.js'
import { type Action, type Cell, cellOf, takes } from './states.js'
import { storedParts } from './stored-parts.js'
import { beginQueuedTurn, beginTurn } from './turns.js'

/**
 * Sends a message: a chat at rest begins a turn, a busy one queues the message. A repeat returns the place of the
 * message now.
 * @throws RpcError content_differs, chat_archived, chat_full, queue_full
 */
export async function send(
  chat: ChatChange,
  { id, parts, whenBusy = 'queue' }: Pick<SendMessage, 'id' | 'parts' | 'whenBusy'>,
): Promise<SentMessage> {
  const message = { id, ...storedParts(parts) }
  const known = await chat.find(id)
  if (known) return placeOf(known, message)
  const action = whenBusy === 'interrupt' ? 'sendAndInterrupt' : 'send'
  const cell = await checked(chat, action)
  checkRoom(chat)
  if (cell === 'W' || cell === 'E0') return { state: 'stored', seq: await beginTurn(chat, message) }
  checkQueue(await chat.queue(), message)
  await chat.enqueue(message)
  if (cell === 'E1') await beginQueuedTurn(chat)
  else if (action === 'sendAndInterrupt' && chat.row.status === 'running') await chat.update({ status: 'interrupting' })
  return { state: 'queued' }
}

/**
 * Replaces a user's message: the later ones are deleted, the queue is emptied, and a turn begins. A repeat changes
 * nothing.
 * @throws RpcError unknown_message, content_differs, chat_archived, chat_full
 */
export async function edit(
  chat: ChatChange,
  { messageId, id, parts }: Pick<EditMessage, 'messageId' | 'id' | 'parts'>,
): Promise<SentMessage> {
  const message = { id, ...storedParts(parts) }
  const known = await chat.find(id)
  if (known) return placeOf(known, message)
  await checked(chat, 'edit')
  const old = await chat.find(messageId)
  if (old?.place !== 'history' || old.isDeleted || old.role !== 'user') {
    throw rpcError('unknown_message', `the chat has no message of its user with the id ${messageId}`)
  }
  await chat.deleteFrom(old.seq)
  await chat.clearQueue()
  checkRoom(chat)
  return { state: 'stored', seq: await beginTurn(chat, message) }
}

/**
 * Asks the runner to end its turn; a chat without a turn stays as it is.
 * @throws RpcError chat_archived
 */
export async function interrupt(chat: ChatChange, { clearQueue = false }: { clearQueue?: boolean | undefined }) {
  await checked(chat, clearQueue ? 'interruptAndClear' : 'interrupt')
  if (clearQueue && (await chat.queue()).length > 0) await chat.clearQueue()
  if (chat.row.status === 'running') await chat.update({ status: 'interrupting' })
}

/**
 * Takes a message out of the queue; a repeat changes nothing.
 * @throws RpcError unknown_message if the message does not wait; chat_archived
 */
export async function dequeue(chat: ChatChange, { id }: { id: string }): Promise<void> {
  const known = await chat.find(id)
  if (known?.place === 'dequeued') return
  if (chat.row.archived) throw rejected('dequeue', chat)
  if (known?.place !== 'queue') throw notWaiting(id)
  await checked(chat, 'dequeue')
  await chat.dequeue(id)
}

/**
 * Moves a message to the head of the queue, and interrupts the turn for it; a failed chat begins a turn with it.
 * @throws RpcError unknown_message if the message does not wait; chat_archived
 */
export async function promote(chat: ChatChange, { id }: { id: string }): Promise<void> {
  if (chat.row.archived) throw rejected('promote', chat)
  if ((await chat.find(id))?.place !== 'queue') throw notWaiting(id)
  const cell = await checked(chat, 'promote')
  await chat.promote(id)
  if (cell === 'E1') await beginQueuedTurn(chat)
  else if (cell === 'R1') await chat.update({ status: 'interrupting' })
}

/**
 * Runs a failed turn again.
 * @throws RpcError chat_idle if the last turn did not fail; chat_archived
 */
export async function retry(chat: ChatChange): Promise<void> {
  await checked(chat, 'retry')
  await chat.update({ status: 'running', lastError: null, historyChanged: true, released: true })
}

/**
 * Archives a chat at rest, or takes it back; a repeat changes nothing.
 * @throws RpcError chat_busy
 */
export async function archive(chat: ChatChange, { archived }: { archived: boolean }): Promise<void> {
  await checked(chat, archived ? 'archive' : 'unarchive')
  if (chat.row.archived !== archived) await chat.update({ archived })
}

/** Returns the cell of a chat. @throws RpcError if the cell does not take the action */
async function checked(chat: ChatChange, action: Action): Promise<Cell> {
  const cell = cellOf(chat.row, (await chat.queue()).length > 0)
  if (!takes(cell, action)) throw rejected(action, chat)
  return cell
}

function rejected(action: Action, { row }: ChatChange): RpcError<string> {
  if (row.archived) return rpcError('chat_archived', 'the chat is archived; take it back first')
  if (action === 'retry') return rpcError('chat_idle', `the chat is ${row.status}, and its last turn did not fail`)
  return rpcError('chat_busy', `the chat is ${row.status}`)
}

function notWaiting(id: string): RpcError<string> {
  return rpcError('unknown_message', `no message with the id ${id} waits in the queue`)
}

function placeOf(known: KnownMessage, { id, contentHash }: { id: string; contentHash: Uint8Array }): SentMessage {
  if (Buffer.compare(known.contentHash, contentHash) !== 0) {
    throw rpcError('content_differs', `the message ${id} has other content`)
  }
  if (known.place !== 'history') return { state: known.place === 'queue' ? 'queued' : 'dequeued' }
  return known.isDeleted ? { state: 'dequeued' } : { state: 'stored', seq: known.seq }
}

/** @throws RpcError queue_full */
function checkQueue(queue: readonly QueuedRow[], message: { parts: string }): void {
  const { maxQueue, maxQueueBytes } = chatLimits
  if (queue.length >= maxQueue) throw rpcError('queue_full', `${maxQueue} messages wait, and no more may wait`)
  const bytes = [...queue, message].reduce((sum, { parts }) => sum + utf8Bytes(parts), 0)
  if (bytes > maxQueueBytes) {
    const problem = `with this message ${bytes.toLocaleString('en')} bytes would wait, and ${maxQueueBytes.toLocaleString('en')} may`
    throw rpcError('queue_full', problem)
  }
}

/** A turn adds a message, a response and perhaps results. */
function checkRoom({ size }: ChatChange): void {
  const { maxMessages, maxHistoryBytes } = chatLimits
  if (size.messages >= maxMessages) {
    throw rpcError('chat_full', `the chat has ${maxMessages} messages, and takes no more`)
  }
  if (size.bytes >= maxHistoryBytes) {
    const [bytes, most] = [size.bytes, maxHistoryBytes].map(count => count.toLocaleString('en'))
    throw rpcError('chat_full', `the messages of the chat have ${bytes} bytes; with ${most} it takes no more`)
  }
}
