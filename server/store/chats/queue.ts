/** Queues of chats, one statement a function. The caller holds the chat's row. */
import { type Kysely, sql } from 'kysely'
import type { NewMessage, QueuedRow } from '../contract/chats.js'
import type { Database } from '../sql/schema.js'
import { queuedColumns } from './chat-rows.js'

/** Returns the messages of the queue, in order. */
export async function readQueue(db: Kysely<Database>, chatId: string): Promise<QueuedRow[]> {
  const { rows } = await sql<QueuedRow>`
    select ${queuedColumns} from chat_queue where chat_id = ${chatId}::uuid order by position`.execute(db)
  return rows
}

/** Adds a message at the end. */
export async function enqueueMessage(
  tx: Kysely<Database>,
  chatId: string,
  { id, parts, contentHash }: Pick<NewMessage, 'id' | 'parts' | 'contentHash'>,
): Promise<void> {
  await sql`
    insert into chat_queue (chat_id, position, id, parts, content_hash)
    select ${chatId}::uuid, coalesce(max(position), 0) + 1, ${id}::uuid, ${parts}::text, ${contentHash}::bytea
    from chat_queue where chat_id = ${chatId}::uuid`.execute(tx)
}

/** Deletes a message; null if the queue does not have it. */
export async function removeQueued(
  tx: Kysely<Database>,
  chatId: string,
  id: string,
): Promise<(QueuedRow & { contentHash: Uint8Array }) | null> {
  const { rows } = await sql<QueuedRow & { contentHash: Uint8Array }>`
    delete from chat_queue where chat_id = ${chatId}::uuid and id = ${id}::uuid
    returning ${queuedColumns}, content_hash as "contentHash"`.execute(tx)
  return rows[0] ?? null
}

/** Keeps the id of a message that was taken out of the queue. */
export async function keepDequeued(
  tx: Kysely<Database>,
  chatId: string,
  { id, contentHash }: { id: string; contentHash: Uint8Array },
): Promise<void> {
  await tx.insertInto('chat_dequeued').values({ chat_id: chatId, id, content_hash: contentHash }).execute()
}

/** Deletes all messages and keeps their ids. Returns their number. */
export async function emptyQueue(tx: Kysely<Database>, chatId: string): Promise<number> {
  const { numAffectedRows } = await sql`
    with gone as (delete from chat_queue where chat_id = ${chatId}::uuid returning chat_id, id, content_hash)
    insert into chat_dequeued (chat_id, id, content_hash) select chat_id, id, content_hash from gone`.execute(tx)
  return Number(numAffectedRows ?? 0)
}

/** Moves a message before all others; false if the queue does not have it. */
export async function moveToHead(tx: Kysely<Database>, chatId: string, id: string): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update chat_queue set position = (select min(position) - 1 from chat_queue where chat_id = ${chatId}::uuid)
    where chat_id = ${chatId}::uuid and id = ${id}::uuid`.execute(tx)
  return Number(numAffectedRows ?? 0) > 0
}
