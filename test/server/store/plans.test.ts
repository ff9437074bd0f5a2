import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPostgresStore } from '../../../server/store/postgres/postgres.js'
import type { InterceptionQuery, Store } from '../../../server/store/store.js'
import { makeDatabase, silentLogger } from '../../fixtures/stores.js'
import { ended, interception, promptUsage, secondsLater, someTime, tokenUsage, toolUsage } from './records/records.js'

const rows = 20_000
const user = randomUUID()
/** a daemon with every second interception; the others name none */
const common = randomUUID()
let database: Awaited<ReturnType<typeof makeDatabase>>
beforeAll(async () => {
  database = await makeDatabase()
})
afterAll(() => database.drop())

/** One connection, so that all statements meet the plans that were kept. */
const open = (): Promise<Store> => openPostgresStore({ url: database.url, logger: silentLogger, maxConnections: 1 })

/** Rows read from tables and indexes since the database was made. A session reports what it has read when it ends. */
async function rowsRead(): Promise<number> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const { rows } = await client.query<{ read: string }>(`
    select (select sum(seq_tup_read) from pg_stat_user_tables) + (select sum(idx_tup_read) from pg_stat_user_indexes) as read`)
  await client.end()
  return Number(rows[0]?.read)
}

async function execute(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await client.query(statement)
  await client.end()
}

async function idOf(statement: string): Promise<string> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const { rows: found } = await client.query<{ id: string }>(statement)
  await client.end()
  return found[0]?.id ?? ''
}

/** What happens on every AI request, and what an operator looks at. */
async function everything(store: Store): Promise<void> {
  const parent = interception({ correlatingToolCallId: randomUUID() })
  const { id } = parent.record
  await store.record([parent])
  await store.record([tokenUsage(id)])
  const tool = toolUsage(id, { toolCallId: randomUUID() })
  await store.record([promptUsage(id), tool, ended(id)])
  const { initiatorId } = parent.record
  const msgId = randomUUID()
  const conversationId = randomUUID()
  await store.record([interception({ correlatingToolCallId: tool.record.toolCallId, initiatorId })])
  await store.record([tokenUsage(id, { msgId })])
  await store.record([interception({ previousMsgId: msgId, initiatorId })])
  await store.record([interception({ conversationId, initiatorId })])
  await store.record([interception({ conversationId, initiatorId, startedAt: secondsLater(1) })])
  await store.getInterception(id)
  const end = await store.feedEnd()
  await store.readFeed({ after: end - 5, limit: 5 })
  await endOfDaemon(store)
}

/** What happens when a daemon comes and goes: it has three interceptions. */
async function endOfDaemon(store: Store): Promise<void> {
  const daemonInstance = randomUUID()
  const daemon = { daemonInstance, daemonKeyId: null }
  const seen = { server: randomUUID(), at: someTime }
  await store.recordDaemonsPresent([daemon], seen)
  const records = [0, 1, 2].map(second => interception({ startedAt: secondsLater(second) }))
  for (const record of records) await store.record([{ ...record, carrier: { daemonInstance } }])
  await store.recordDaemonsLeft([daemonInstance], seen)
  await store.recordUnnotedDaemons(someTime)
  await store.declareDaemonsGone([daemonInstance], { daemonKeyId: null, at: someTime })
  const times = { startedFrom: someTime, startedBefore: secondsLater(2) }
  for (const part of [{ daemonInstance }, { daemonInstance, ...times }, { daemonInstance: null, ...times }]) {
    const { next } = await store.endOpenInterceptions({ ...part, limit: 1 }, { at: someTime, errorMessage: '' })
    const query = { ...part, before: next ?? { startedAt: secondsLater(1), id: randomUUID() }, limit: 2 }
    await store.endOpenInterceptions(query, { at: someTime, errorMessage: '' })
  }
  await store.listAbsentDaemons({ notSeenSince: secondsLater(1), at: secondsLater(2), limit: 2 })
  await store.settleDaemon({ daemonInstance, lastSeenAt: someTime, at: someTime })
  await store.forgetDaemons({ notSeenSince: secondsLater(1) })
}

test('plans that were made while the tables were empty fit large ones: no statement reads more than its own rows', async () => {
  const store = await open()
  // PostgreSQL plans a prepared statement anew five times, and then keeps a plan.
  for (let turn = 0; turn < 8; turn++) await everything(store)
  await execute(`
    set session_replication_role = replica;
    insert into interceptions (id, initiator_id, api_key_id, provider, provider_name, model, started_at, client, client_session_id,
      correlating_tool_call_id, credential_kind, error_type, content_hash, previous_msg_id, conversation_id, metadata, daemon_instance,
      ended_by)
    select gen_random_uuid(), case when n % 5000 = 0 then '${user}'::uuid else gen_random_uuid() end, 'k',
      case when n % 5000 = 0 then 'rare' else 'anthropic' end, case when n % 5000 = 0 then 'rare-name' else 'anthropic' end,
      case when n % 5000 = 0 then 'rare' else 'm' end, now() - n * interval '1 second',
      case when n % 5000 = 0 then 'rare' else 'c' end, case when n % 5000 = 0 then 'rare' else 's' end, 'call-' || n, 'byok',
      case when n % 5000 = 0 then 'timeout' when n % 2 = 0 then 'unknown' end, '', 'msg-' || n, 'conv-' || n,
      case when n < ${rows} / 2 then '{"request_kind": "subagent"}'::jsonb end,
      case when n % 2 = 0 then '${common}'::uuid end, case when n % 5000 = 0 then 'control_plane' end
    from generate_series(1, ${rows}) as n;
    insert into token_usages (id, interception_id, initiator_id, msg_id, input_tokens, output_tokens, cache_read_input_tokens,
      cache_write_input_tokens, created_at, content_hash)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'm' || n, 1, 1, 1, 1, now(), ''
    from generate_series(1, ${rows}) as n;
    insert into user_prompts (id, interception_id, initiator_id, msg_id, prompt, created_at, content_hash)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'm' || n, '', now(), '' from generate_series(1, ${rows}) as n;
    insert into tool_usages (id, interception_id, initiator_id, msg_id, tool_call_id, tool, input, injected, created_at, content_hash)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'm', 'x' || n, 't', '{}', false, now(), ''
    from generate_series(1, ${rows}) as n;
    insert into record_feed (kind, id) select 'tokenUsage', gen_random_uuid() from generate_series(1, ${rows});`)
  const before = await rowsRead()
  for (let turn = 0; turn < 8; turn++) await everything(store)
  await store.close()
  expect((await rowsRead()) - before).toBeLessThan(rows / 4)
})

test('a short id, known or not, reads no more than the rows that have it', async () => {
  await execute(`
    set session_replication_role = replica;
    insert into users (id, username, is_system) select gen_random_uuid(), 'user-' || n, false from generate_series(1, ${rows}) as n;
    insert into audit_log (id, actor, action, target)
    select gen_random_uuid(), 'admin', 'users.create', id::text from users;
    analyze`)
  const known = await idOf('select id from users limit 1')
  for (const place of ['users', 'interceptions', 'auditTargets'] as const) {
    for (const shortId of [known.slice(-12), '0123456789ab']) {
      const before = await rowsRead()
      const store = await open()
      await store.findByShortId({ place, shortId, limit: 6 })
      if (place === 'auditTargets') await store.listAudit({ limit: 20, target: known })
      await store.close()
      expect({ place, shortId, read: (await rowsRead()) - before < rows / 20 }).toEqual({ place, shortId, read: true })
    }
  }
})

test('the last failure of providers reads a row for each that has failed, however many requests succeeded', async () => {
  await execute(`
    insert into providers (name, type, enabled, base_url)
    values ('anthropic', 'anthropic', true, ''), ('rare-name', 'anthropic', true, ''), ('good', 'anthropic', true, '');
    set session_replication_role = replica;
    insert into interceptions (id, initiator_id, api_key_id, provider, provider_name, model, started_at, ended_at, credential_kind, content_hash)
    select gen_random_uuid(), gen_random_uuid(), 'k', 'anthropic', 'good', 'm', now(), now(), 'byok', '' from generate_series(1, ${rows});
    analyze`)
  const before = await rowsRead()
  const store = await open()
  expect([...(await store.listLastFailures()).keys()].toSorted()).toEqual(['anthropic', 'rare-name'])
  await store.close()
  expect((await rowsRead()) - before).toBeLessThan(rows / 20)
})

test('a page of each filter reads little more than its rows, whether they are rare, common, or common before the newest rows', async () => {
  await execute('analyze')
  const middle = new Date(Date.now() - 10_000_000)
  const queries: Omit<InterceptionQuery, 'limit'>[] = [
    {},
    { initiatorId: user },
    { provider: 'anthropic' },
    { provider: 'rare' },
    { provider: 'rare-name' },
    { provider: 'none' },
    { model: 'rare' },
    { client: 'rare' },
    { clientSessionId: 'rare' },
    { errorType: 'timeout' },
    { errorType: 'unknown' },
    { endedBy: 'control_plane' },
    { interceptionKind: 'mcp' },
    { interceptionKind: 'model' },
    { client: 'c' },
    { clientSessionId: 's' },
    { before: { startedAt: middle, id: randomUUID() } },
    { provider: 'anthropic', before: { startedAt: middle, id: randomUUID() } },
    { provider: 'anthropic', from: new Date(middle.getTime() - 10_000), to: middle },
    { from: new Date(Date.now() - 11_000_000), to: new Date(Date.now() - 10_990_000) },
    { excludeInternal: true },
    { excludeInternal: true, before: { startedAt: middle, id: randomUUID() } },
    { excludeInternal: true, clientSessionId: 'rare' },
  ]
  for (const query of queries) {
    const before = await rowsRead()
    const store = await open()
    await store.listInterceptions({ ...query, limit: 20 })
    await store.close()
    expect({ query, read: (await rowsRead()) - before < rows / 20 }).toEqual({ query, read: true })
  }
})

test('a part of the interceptions of a daemon, or of none, reads little more than its rows', async () => {
  const middle = new Date(Date.now() - 10_000_000)
  const before = { startedAt: middle, id: randomUUID() }
  for (const daemonInstance of [common, randomUUID(), null]) {
    for (const bounds of [{}, { before }, { startedBefore: middle }, { before, startedFrom: new Date(0) }]) {
      const readBefore = await rowsRead()
      const store = await open()
      const query = { daemonInstance, ...bounds, limit: 20 }
      await store.endOpenInterceptions(query, { at: new Date(), errorMessage: '' })
      await store.close()
      expect({ query, read: (await rowsRead()) - readBefore < rows / 20 }).toEqual({ query, read: true })
    }
  }
})
