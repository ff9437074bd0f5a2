/**
 * One change of a chat. The lock of the chat's row comes first, and its messages and queue are written under that lock
 * only: changes of one chat run one after the other.
 */
import { type Kysely, sql } from 'kysely'
import { utf8Bytes } from '../../../shared/values/text.js'
import type {
  ChatChange,
  ChatPatch,
  ChatRow,
  ChatSize,
  KnownMessage,
  MessageRow,
  NewMessage,
  QueuedRow,
} from '../contract/chats.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import { type ChatRecord, chatColumns, chatOf, jsonOf } from './chat-rows.js'
import { deleteMessages, findMessage, insertMessage, readLastTurn } from './messages.js'
import { emptyQueue, enqueueMessage, keepDequeued, moveToHead, readQueue, removeQueued } from './queue.js'

/** Runs a change, as `ChatStore.changeChat` says. */
export function changeChat<T>(
  db: Kysely<Database>,
  id: string,
  work: (chat: ChatChange) => Promise<T>,
): Promise<{ result: T; row: ChatRow } | null> {
  return inTransaction(db, tx => changeIn(tx, id, work))
}

/** Runs a change in a transaction that does more. */
export async function changeIn<T>(
  tx: Kysely<Database>,
  id: string,
  work: (chat: ChatChange) => Promise<T>,
): Promise<{ result: T; row: ChatRow } | null> {
  const locked = await lockChat(tx, id)
  if (!locked) return null
  const chat = new LockedChat(tx, locked)
  const result = await work(chat)
  return { result, row: await chat.finish() }
}

interface LockedRecord extends ChatRecord, ChatSize {
  lastSeq: number
  now: Date
}

async function lockChat(tx: Kysely<Database>, id: string): Promise<LockedRecord | undefined> {
  const { rows } = await sql<LockedRecord>`
    select ${chatColumns}, c.last_seq as "lastSeq", c.messages, c.bytes, now() as now
    from chats c where c.id = ${id}::uuid for no key update`.execute(tx)
  return rows[0]
}

class LockedChat implements ChatChange {
  readonly row: ChatRow
  readonly now: Date
  readonly #tx: Kysely<Database>
  /** of the rows that this change writes */
  readonly #version: number
  #lastSeq: number
  #size: ChatSize
  #patch: ChatPatch = {}
  #isQueueChanged = false
  #isChanged = false

  constructor(tx: Kysely<Database>, locked: LockedRecord) {
    this.#tx = tx
    this.row = chatOf(locked)
    this.now = locked.now
    this.#version = locked.version + 1
    this.#lastSeq = locked.lastSeq
    this.#size = { messages: locked.messages, bytes: locked.bytes }
  }

  find(messageId: string): Promise<KnownMessage | null> {
    return findMessage(this.#tx, this.row.id, messageId)
  }

  get size(): ChatSize {
    return this.#size
  }

  lastTurn(): Promise<MessageRow[]> {
    return readLastTurn(this.#tx, this.row.id)
  }

  queue(): Promise<QueuedRow[]> {
    return readQueue(this.#tx, this.row.id)
  }

  async append(message: NewMessage): Promise<number> {
    this.#isChanged = true
    const seq = ++this.#lastSeq
    this.#grow({ messages: 1, bytes: utf8Bytes(message.parts) })
    await insertMessage(this.#tx, { chatId: this.row.id, seq, version: this.#version }, message)
    return seq
  }

  async deleteFrom(seq: number): Promise<void> {
    const deleted = await deleteMessages(this.#tx, { chatId: this.row.id, seq, version: this.#version })
    this.#isChanged ||= deleted.messages > 0
    this.#grow({ messages: -deleted.messages, bytes: -deleted.bytes })
  }

  async enqueue(message: Pick<NewMessage, 'id' | 'parts' | 'contentHash'>): Promise<void> {
    this.#noteQueue()
    await enqueueMessage(this.#tx, this.row.id, message)
  }

  async dequeue(id: string, promoted = false): Promise<(QueuedRow & { contentHash: Uint8Array }) | null> {
    const removed = await removeQueued(this.#tx, this.row.id, id)
    if (!removed) return null
    this.#noteQueue()
    if (!promoted) await keepDequeued(this.#tx, this.row.id, removed)
    return removed
  }

  async clearQueue(): Promise<void> {
    if ((await emptyQueue(this.#tx, this.row.id)) > 0) this.#noteQueue()
  }

  async promote(id: string): Promise<void> {
    if (await moveToHead(this.#tx, this.row.id, id)) this.#noteQueue()
  }

  async update(patch: ChatPatch): Promise<void> {
    this.#isChanged = true
    this.#patch = { ...this.#patch, ...patch }
  }

  /** Stores the chat's own row, once for the whole change, and returns it. */
  async finish(): Promise<ChatRow> {
    if (!this.#isChanged) return this.row
    const { historyChanged = false, released = false, ...fields } = this.#patch
    const next: ChatRow = { ...this.row, ...fields, version: this.#version }
    if (historyChanged) Object.assign(next, { historyVersion: this.#version, attempt: 0, retry: null })
    if (this.#isQueueChanged) next.queueVersion = this.#version
    if (released) Object.assign(next, { runner: null, leaseUntil: null })
    return storeChat(this.#tx, next, { lastSeq: this.#lastSeq, ...this.#size })
  }

  #grow({ messages, bytes }: ChatSize): void {
    this.#size = { messages: this.#size.messages + messages, bytes: this.#size.bytes + bytes }
  }

  #noteQueue(): void {
    this.#isChanged = true
    this.#isQueueChanged = true
  }
}

async function storeChat(
  tx: Kysely<Database>,
  next: ChatRow,
  { lastSeq, messages, bytes }: ChatSize & { lastSeq: number },
): Promise<ChatRow> {
  const { rows } = await sql<ChatRecord>`
    update chats c set status = ${next.status}::text, archived = ${next.archived}::boolean, title = ${next.title}::text,
      version = ${next.version}::integer, history_version = ${next.historyVersion}::integer,
      queue_version = ${next.queueVersion}::integer, last_seq = ${lastSeq}::integer, messages = ${messages}::integer,
      bytes = ${bytes}::bigint, attempt = ${next.attempt}::integer, retry = ${jsonOf(next.retry)}::jsonb,
      last_error = ${jsonOf(next.lastError)}::jsonb, agent_instance = ${next.agentInstance}::uuid,
      runner = ${next.runner}::uuid, lease_until = ${next.leaseUntil}::timestamptz, updated_at = now()
    where c.id = ${next.id}::uuid returning ${chatColumns}`.execute(tx)
  const [stored] = rows
  if (!stored) throw new Error(`chat ${next.id} is gone while its row is locked`)
  return chatOf(stored)
}
