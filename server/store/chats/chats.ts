/** Chats in SQL; the guarantees stand in the store's contract. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { ChatRow, ChatStore, ChatSync, NewChat } from '../contract/chats.js'
import type { Database } from '../sql/schema.js'
import { inSnapshot, inTransaction } from '../sql/transaction.js'
import { changeChat, changeIn } from './change.js'
import { type ChatRecord, chatColumns, chatOf } from './chat-rows.js'
import { acquireChats, releaseChats, renewChats, takeChat } from './leases.js'
import { readMessages, readPage, wasDeletedSince } from './messages.js'
import { readQueue } from './queue.js'

/** The chats of a database. */
export function chatStore(db: Kysely<Database>): Omit<ChatStore, 'onChatChange'> {
  return {
    createChat(chat, begin) {
      if (!begin) return insertChat(db, chat)
      return inTransaction(db, async tx => {
        if (!(await insertChat(tx, chat))) return null
        return (await changeIn(tx, chat.id, begin))?.row ?? null
      })
    },

    async findChat(id) {
      const { rows } = await sql<ChatRecord & { contentHash: Uint8Array }>`
        select ${chatColumns}, c.content_hash as "contentHash" from chats c where c.id = ${id}::uuid`.execute(db)
      const [found] = rows
      return found ? { row: chatOf(found), contentHash: found.contentHash } : null
    },

    changeChat: (id, change) => changeChat(db, id, change),

    async listChats({ ownerId, archived, before, limit }) {
      const conditions = [
        ...(ownerId === undefined ? [] : [sql`c.owner_id = ${ownerId}::uuid`]),
        ...(archived === undefined ? [] : [sql`c.archived = ${archived}::boolean`]),
        ...(before ? [sql`(c.updated_at, c.id) < (${before.updatedAt}::timestamptz, ${before.id}::uuid)`] : []),
      ]
      const { rows } = await sql<ChatRecord>`
        select ${chatColumns} from chats c where ${conditions.length > 0 ? sql.join(conditions, sql` and `) : sql`true`}
        order by c.updated_at desc, c.id desc limit ${limit}`.execute(db)
      return rows.map(chatOf)
    },

    listMessages: query => readPage(db, query),

    async readChatVersions(ids) {
      if (ids.length === 0) return new Map()
      const { rows } = await sql<{ id: string; version: number }>`
        select id, version from chats where id = any(${`{${ids.join(',')}}`}::uuid[])`.execute(db)
      return new Map(rows.map(({ id, version }) => [id, version]))
    },

    readHistory(id) {
      return inSnapshot(db, async tx => {
        const row = await readChat(tx, id)
        return row && { row, messages: await readMessages(tx, id) }
      })
    },

    syncChat({ id, afterSeq, historyVersion, limit, maxBytes }) {
      return inSnapshot(db, async (tx): Promise<ChatSync | null> => {
        const { rows } = await sql<ChatRecord & { lastSeq: number }>`
          select ${chatColumns}, c.last_seq as "lastSeq" from chats c where c.id = ${id}::uuid`.execute(tx)
        const [found] = rows
        if (!found) return null
        const row = chatOf(found)
        const since = { chatId: id, seq: afterSeq, version: historyVersion }
        const wasReset = row.historyVersion !== historyVersion && (await wasDeletedSince(tx, since))
        const after = wasReset ? 0 : afterSeq
        const { messages, hasMore } = await readPage(tx, { chatId: id, after, limit, maxBytes })
        return { row, lastSeq: found.lastSeq, wasReset, messages, hasMore, queue: await readQueue(tx, id) }
      })
    },

    acquireChats: query => acquireChats(db, query),
    takeChat: query => takeChat(db, query),
    renewChats: query => renewChats(db, query),
    releaseChats: query => releaseChats(db, query),

    eraseOldChats({ updatedBefore, limit }) {
      const isOld = sql`updated_at < ${updatedBefore}::timestamptz and status in ('waiting', 'error')`
      return inTransaction(db, tx => eraseWhere(tx, isOld, limit))
    },

    eraseChatsOf({ userId, limit }) {
      return inTransaction(db, tx => eraseWhere(tx, sql`owner_id = ${userId}::uuid`, limit))
    },
  }
}

async function insertChat(
  db: Kysely<Database>,
  { id, ownerId, agentId, provider, model, api, title, system, cwd, contentHash }: NewChat,
): Promise<ChatRow | null> {
  // The share of the user's row holds up the deletion of the user, so a purge finds the chat.
  const { rows } = await sql<ChatRecord>`
    insert into chats as c (id, owner_id, agent_id, provider, model, api, title, system, cwd, content_hash)
    select ${id}::uuid, owner.id, ${agentId}::uuid, ${provider}, ${model}, ${api}, ${title}::text, ${system}::text,
      ${cwd}::text, ${contentHash}::bytea
    from (select id from users where id = ${ownerId}::uuid and deleted_at is null for share) as owner
    on conflict (id) do nothing returning ${chatColumns}`.execute(db)
  return rows[0] ? chatOf(rows[0]) : null
}

async function readChat(db: Kysely<Database>, id: string) {
  const { rows } = await sql<ChatRecord>`select ${chatColumns} from chats c where c.id = ${id}::uuid`.execute(db)
  return rows[0] ? chatOf(rows[0]) : null
}

/** Erases the chats that meet the condition, the oldest change first. A chat that is being changed is skipped. */
async function eraseWhere(tx: Kysely<Database>, condition: RawBuilder<unknown>, limit: number): Promise<number> {
  const { numAffectedRows } = await sql`
    with erased as materialized (
      select id from chats where ${condition} order by updated_at, id limit ${limit} for update skip locked
    )
    delete from chats where id in (select id from erased)`.execute(tx)
  return Number(numAffectedRows ?? 0)
}
