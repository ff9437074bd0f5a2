/** Conversations with injected tools, in SQL; the guarantees stand in the store's contract. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { ConversationPlace, ConversationStore, StoredJson } from '../contract/conversations.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'

/** The conversations of a database. */
export function conversationStore(db: Kysely<Database>): ConversationStore {
  return {
    async openConversation(place, { after, maxBytes, maxContainers, at, notedBefore }) {
      const found = await findConversation(db, place)
      if (!found) return null
      if (found.lastUsedAt === null) return { tools: null, turns: [], next: null }
      if (found.lastUsedAt < notedBefore) await noteUse(db, place, at)
      const isFirst = after === undefined
      const start = after ?? 0
      const turns =
        found.turns <= start
          ? []
          : await readTurns(db, place, start, {
              maxBytes: maxBytes - (isFirst ? found.bytes : 0),
              maxContainers: maxContainers - (isFirst ? found.containers : 0),
            })
      const last = turns.at(-1)?.number ?? start
      return {
        tools: isFirst ? found.tools : null,
        turns: turns.map(({ turn }) => turn),
        // A conversation that was erased meanwhile has no more pages.
        next: last < found.turns && (isFirst || turns.length > 0) ? last : null,
      }
    },

    pinTools(place, tools, at, replaces = false) {
      return inTransaction(db, async tx => {
        if (!(await lockConversation(tx, place, at))) return null
        const pinned = await findConversation(tx, place)
        if (typeof pinned?.tools === 'string' && (!replaces || pinned.tools === tools.text)) return pinned.tools
        await storeTools(tx, place.userId, tools, at)
        await tx
          .updateTable('conversations')
          .set({ tools_hash: tools.contentHash })
          .where('user_id', '=', place.userId)
          .where('key', '=', place.key)
          .execute()
        return tools.text
      })
    },

    keepTurn(place, { id, text, bytes, containers, contentHash }, limits, at) {
      return inTransaction(db, async tx => {
        const conversation = await lockConversation(tx, place, at)
        if (!conversation) return null
        const kept = await tx
          .selectFrom('conversation_turns')
          .select('content_hash as contentHash')
          .where('user_id', '=', place.userId)
          .where('key', '=', place.key)
          .where('id', '=', id)
          .executeTakeFirst()
        if (kept) return Buffer.from(kept.contentHash).equals(contentHash) ? 'kept' : 'differs'
        const dropped = await dropOldest(tx, place, limits.maxTurns - 1, limits.maxBytes - bytes)
        const number = conversation.turns + 1
        const { userId: user_id, key } = place
        await tx
          .insertInto('conversation_turns')
          .values({
            user_id,
            key,
            number,
            id,
            content_hash: contentHash,
            turn: text,
            bytes,
            containers,
            created_at: at,
          })
          .execute()
        await tx
          .updateTable('conversations')
          .set({ turns: number, bytes: conversation.bytes - dropped + bytes })
          .where('user_id', '=', user_id)
          .where('key', '=', key)
          .execute()
        return 'kept'
      })
    },

    async hasConversations(userId) {
      const { rows } = await sql<{ has: boolean }>`
        select exists (select from conversations where user_id = ${userId}::uuid) as has`.execute(db)
      return rows[0]?.has === true
    },

    eraseOldConversations({ usedBefore, limit }) {
      return inTransaction(db, tx => eraseWhere(tx, sql<boolean>`last_used_at < ${usedBefore}::timestamptz`, limit))
    },

    eraseConversationsOf({ userId, limit }) {
      return inTransaction(db, tx => eraseWhere(tx, sql<boolean>`user_id = ${userId}::uuid`, limit))
    },
  }
}

interface FoundConversation {
  /** null if the conversation is not stored */
  lastUsedAt: Date | null
  turns: number
  tools: string | null
  /** of the tools */
  bytes: number
  containers: number
}

/** Returns undefined if the user does not exist or is deleted. */
async function findConversation(
  db: Kysely<Database>,
  { userId, key }: ConversationPlace,
): Promise<FoundConversation | undefined> {
  const { rows } = await sql<FoundConversation>`
    select c.last_used_at as "lastUsedAt", coalesce(c.turns, 0) as turns, t.tools,
      coalesce(t.bytes, 0) as bytes, coalesce(t.containers, 0) as containers
    from users u
    left join conversations c on c.user_id = u.id and c.key = ${key}::bytea
    left join conversation_tools t on t.user_id = c.user_id and t.content_hash = c.tools_hash
    where u.id = ${userId}::uuid and u.deleted_at is null`.execute(db)
  return rows[0]
}

async function readTurns(
  db: Kysely<Database>,
  { userId, key }: ConversationPlace,
  after: number,
  { maxBytes, maxContainers }: { maxBytes: number; maxContainers: number },
): Promise<{ number: number; turn: string }[]> {
  // The sizes are summed without the texts, which stand outside of the row if they are long.
  const { rows } = await sql<{ number: number; turn: string }>`
    with sized as materialized (
      select number, sum(bytes) over before as bytes, sum(containers) over before as containers
      from conversation_turns
      where user_id = ${userId}::uuid and key = ${key}::bytea and number > ${after}::integer
      window before as (order by number)
    )
    select number, turn from conversation_turns
    where user_id = ${userId}::uuid and key = ${key}::bytea and number > ${after}::integer
      and number <= (select max(number) from sized where bytes <= ${maxBytes}::bigint and containers <= ${maxContainers}::bigint)
    order by number`.execute(db)
  return rows
}

/** Drops the oldest turns of a conversation, until it has no more than the given ones. Returns the bytes of those. */
async function dropOldest(
  tx: Kysely<Database>,
  { userId, key }: ConversationPlace,
  maxTurns: number,
  maxBytes: number,
): Promise<number> {
  const { rows } = await sql<{ bytes: number }>`
    with sized as materialized (
      select number, row_number() over newest as place, sum(bytes) over newest as bytes
      from conversation_turns
      where user_id = ${userId}::uuid and key = ${key}::bytea
      window newest as (order by number desc)
    )
    delete from conversation_turns t using sized
    where t.user_id = ${userId}::uuid and t.key = ${key}::bytea and t.number = sized.number
      and (sized.place > ${maxTurns}::bigint or sized.bytes > ${maxBytes}::bigint)
    returning t.bytes`.execute(tx)
  return rows.reduce((sum, { bytes }) => sum + bytes, 0)
}

async function noteUse(db: Kysely<Database>, { userId, key }: ConversationPlace, at: Date): Promise<void> {
  await db
    .updateTable('conversations')
    .set({ last_used_at: at })
    .where('user_id', '=', userId)
    .where('key', '=', key)
    .where('last_used_at', '<', at)
    .execute()
}

/**
 * Locks a conversation, made if need be, and notes its use. Returns undefined if the user does not exist or is deleted.
 * The share of the user's row holds up the deletion of the user, so a purge finds the conversation.
 */
async function lockConversation(
  tx: Kysely<Database>,
  { userId, key }: ConversationPlace,
  at: Date,
): Promise<{ turns: number; bytes: number } | undefined> {
  const { rows } = await sql<{ turns: number; bytes: number }>`
    insert into conversations as c (user_id, key, last_used_at)
    select id, ${key}::bytea, ${at}::timestamptz
    from (select id from users where id = ${userId}::uuid and deleted_at is null for share) as owner
    on conflict (user_id, key) do update set last_used_at = greatest(c.last_used_at, excluded.last_used_at)
    returning turns, bytes`.execute(tx)
  return rows[0]
}

/** The time also locks a list that is there, so that an erasure leaves the list alone. */
async function storeTools(tx: Kysely<Database>, userId: string, tools: StoredJson, at: Date): Promise<void> {
  const { text, bytes, containers, contentHash } = tools
  await sql`
    insert into conversation_tools as t (user_id, content_hash, tools, bytes, containers, last_pinned_at)
    values (${userId}::uuid, ${contentHash}::bytea, ${text}, ${bytes}::integer, ${containers}::integer, ${at}::timestamptz)
    on conflict (user_id, content_hash)
    do update set last_pinned_at = greatest(t.last_pinned_at, excluded.last_pinned_at)`.execute(tx)
}

/**
 * Erases the least used conversations that meet the condition, and their lists of tools that no other conversation has.
 * The statements wait for no lock: a conversation in use is skipped, and so is a list that is being pinned.
 */
async function eraseWhere(tx: Kysely<Database>, condition: RawBuilder<boolean>, limit: number): Promise<number> {
  const found = await tx
    .selectFrom('conversations')
    .select(['user_id as userId', 'key', 'tools_hash as toolsHash', 'last_used_at as lastUsedAt'])
    .where(condition)
    .orderBy('last_used_at')
    .limit(limit)
    .forUpdate()
    .skipLocked()
    .execute()
  if (found.length === 0) return 0
  const rows = JSON.stringify(
    found.map(({ userId, key, toolsHash }) => ({ user: userId, key: hex(key), tools: toolsHash && hex(toolsHash) })),
  )
  const gone = sql`(
    select r.user, decode(r.key, 'hex') as key, decode(r.tools, 'hex') as tools
    from json_to_recordset(${rows}::json) as r("user" uuid, key text, tools text)
  )`
  await sql`
    delete from conversations c using ${gone} as gone where c.user_id = gone.user and c.key = gone.key`.execute(tx)
  // A list was pinned no later than the last of its conversations was used. A list that is pinned just now has a newer
  // time, which the statement sees when it has the row; it does not see the new conversation.
  const lastUsedAt = found.at(-1)?.lastUsedAt
  await sql`
    delete from conversation_tools where (user_id, content_hash) in (
      select t.user_id, t.content_hash from conversation_tools t
      where (t.user_id, t.content_hash) in (select gone.user, gone.tools from ${gone} as gone)
        and t.last_pinned_at <= ${lastUsedAt}::timestamptz
        and not exists (select from conversations c where c.user_id = t.user_id and c.tools_hash = t.content_hash)
      for update skip locked
    )`.execute(tx)
  return found.length
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
