/** Messages of chats, one statement a function. */
import { type Kysely, sql } from 'kysely'
import type { ChatSize, KnownMessage, MessageRow, NewMessage } from '../contract/chats.js'
import type { Database } from '../sql/schema.js'
import { jsonOf, messageColumns } from './chat-rows.js'

/** Returns the fate of a message's id in a chat: in the history, in the queue, or taken out of the queue. */
export async function findMessage(
  db: Kysely<Database>,
  chatId: string,
  messageId: string,
): Promise<KnownMessage | null> {
  const { rows } = await sql<KnownMessage>`
    select 'history' as place, role, seq, content_hash as "contentHash", deleted as "isDeleted"
    from chat_messages where chat_id = ${chatId}::uuid and id = ${messageId}::uuid
    union all
    select 'queue', null, null, content_hash, null from chat_queue
    where chat_id = ${chatId}::uuid and id = ${messageId}::uuid
    union all
    select 'dequeued', null, null, content_hash, null from chat_dequeued
    where chat_id = ${chatId}::uuid and id = ${messageId}::uuid`.execute(db)
  const [found] = rows
  if (!found) return null
  return found.place === 'history' ? found : { place: found.place, contentHash: found.contentHash }
}

/** Adds a message. The caller holds the chat's row, from which the number comes. */
export async function insertMessage(
  tx: Kysely<Database>,
  { chatId, seq, version }: { chatId: string; seq: number; version: number },
  message: NewMessage,
): Promise<void> {
  await tx
    .insertInto('chat_messages')
    .values({
      chat_id: chatId,
      seq,
      version,
      id: message.id,
      role: message.role,
      parts: message.parts,
      content_hash: message.contentHash,
      usage: jsonOf(message.usage),
      interception_id: message.interceptionId ?? null,
      finish_reason: message.finishReason ?? null,
      interrupted: message.interrupted ?? false,
    })
    .execute()
}

/** Deletes the message `seq` and all behind it; their ids and hashes stay. Returns how much was deleted. */
export async function deleteMessages(
  tx: Kysely<Database>,
  { chatId, seq, version }: { chatId: string; seq: number; version: number },
): Promise<ChatSize> {
  const { rows } = await sql<ChatSize>`
    with old as materialized (
      select seq, octet_length(parts) as bytes from chat_messages
      where chat_id = ${chatId}::uuid and seq >= ${seq}::integer and not deleted
    ),
    deleted as (
      update chat_messages m set deleted = true, version = ${version}::integer, parts = '[]' from old
      where m.chat_id = ${chatId}::uuid and m.seq = old.seq
    )
    select count(*)::integer as messages, coalesce(sum(bytes), 0)::bigint as bytes from old`.execute(tx)
  return rows[0] ?? { messages: 0, bytes: 0 }
}

/** Returns the last user's message and all behind it, in order; all messages if there is no user's message. */
export async function readLastTurn(db: Kysely<Database>, chatId: string): Promise<MessageRow[]> {
  const { rows } = await sql<MessageRow>`
    select ${messageColumns} from chat_messages m
    where m.chat_id = ${chatId}::uuid and not m.deleted and m.seq >= coalesce((
      select max(seq) from chat_messages where chat_id = ${chatId}::uuid and role = 'user' and not deleted
    ), 0)
    order by m.seq`.execute(db)
  return rows
}

/** Returns all messages, in order. */
export async function readMessages(db: Kysely<Database>, chatId: string): Promise<MessageRow[]> {
  const { rows } = await sql<MessageRow>`
    select ${messageColumns} from chat_messages m where m.chat_id = ${chatId}::uuid and not m.deleted
    order by m.seq`.execute(db)
  return rows
}

/** Returns messages behind `after`, in order: at most `limit` with `maxBytes` of parts, but one at least. */
export async function readPage(
  db: Kysely<Database>,
  { chatId, after, limit, maxBytes }: { chatId: string; after: number; limit: number; maxBytes: number },
): Promise<{ messages: MessageRow[]; hasMore: boolean }> {
  // The sizes are summed without the texts, which stand outside of the row if they are long.
  const { rows } = await sql<MessageRow & { found: number }>`
    with sized as materialized (
      select seq, row_number() over (order by seq) as place, sum(bytes) over (order by seq) as bytes, count(*) over () as found
      from (
        select seq, octet_length(parts) as bytes from chat_messages
        where chat_id = ${chatId}::uuid and seq > ${after}::integer and not deleted
        order by seq limit ${limit + 1}
      ) as next
    )
    select ${messageColumns}, sized.found from sized
    join chat_messages m on m.chat_id = ${chatId}::uuid and m.seq = sized.seq
    where sized.place <= ${limit}::bigint and (sized.place = 1 or sized.bytes <= ${maxBytes}::bigint)
    order by m.seq`.execute(db)
  const messages = rows.map(({ found: _, ...message }): MessageRow => message)
  return { messages, hasMore: (rows[0]?.found ?? 0) > messages.length }
}

/** Returns whether a message at or below `seq` was deleted at a version above `version`. */
export async function wasDeletedSince(
  db: Kysely<Database>,
  { chatId, seq, version }: { chatId: string; seq: number; version: number },
): Promise<boolean> {
  if (seq === 0) return false
  const { rows } = await sql<{ found: boolean }>`
    select exists (
      select from chat_messages
      where chat_id = ${chatId}::uuid and deleted and version > ${version}::integer and seq <= ${seq}::integer
    ) as found`.execute(db)
  return rows[0]?.found === true
}
