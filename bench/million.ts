/** The lists of an operator on PostgreSQL with a million interceptions. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { openPostgresStore } from '../server/store/postgres/postgres.js'
import type { InterceptionQuery } from '../server/store/store.js'
import { PostgresServer } from '../test/fixtures/postgres-server.js'
import { median } from './median.js'

const quiet = { debug() {}, info() {}, warn: console.warn, error: console.error }
const users = 1_000

/**
 * A million requests of a year by a thousand users, four million records in all; rare values are one in ten thousand.
 */
const fill = `
  set session_replication_role = replica;
  insert into interceptions (id, initiator_id, api_key_id, provider, provider_name, model, started_at, client, client_session_id,
    credential_kind, ended_at, error_type, content_hash)
  select gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad((n % ${users})::text, 12, '0'))::uuid, 'abcdefghij',
    case when n % 10000 = 0 then 'rare' else 'anthropic' end, case when n % 10000 = 0 then 'rare-name' else 'anthropic' end,
    case when n % 10000 = 0 then 'rare-model' else 'claude-' || n % 5 end, now() - n * interval '31 seconds',
    case when n % 10000 = 0 then 'Rare' else 'Claude Code' end, 'session-' || n / 20,
    'centralized', now() - n * interval '31 seconds' + interval '9 seconds',
    case when n % 10000 = 0 then 'timeout' when n % 50 = 0 then 'rate_limited' end, sha256(n::text::bytea)
  from generate_series(1, 1000000) as n;
  insert into token_usages (id, interception_id, msg_id, input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens, created_at, content_hash)
  select gen_random_uuid(), id, 'm', 1000, 200, 50, 5, ended_at, '' from interceptions;
  insert into user_prompts (id, interception_id, msg_id, prompt, created_at, content_hash)
  select gen_random_uuid(), id, 'm', 'a prompt of some length', started_at, '' from interceptions;
  insert into tool_usages (id, interception_id, initiator_id, msg_id, tool, input, injected, created_at, content_hash)
  select gen_random_uuid(), id, initiator_id, 'm', 'Bash', '{}', false, started_at, '' from interceptions;
`

const page = 'order by started_at desc, id desc limit 51'
const explained = {
  'no filter, second page': `select * from interceptions where (started_at, id) < ('2026-06-01Z', '00000000-0000-4000-8000-000000000007') ${page}`,
  'a model': `select * from interceptions where model = 'rare-model' ${page}`,
  'a user': `select * from interceptions where initiator_id = '00000000-0000-4000-8000-000000000007' ${page}`,
}

/** Times a page of each filter, its plan beside it. */
export async function benchMillion(): Promise<void> {
  const server = await PostgresServer.create({ shared_buffers: '512MB', max_wal_size: '8GB' })
  const store = await openPostgresStore({ url: server.url(), logger: quiet })
  await server.execute(fill)
  await server.execute('vacuum analyze')
  const user = `00000000-0000-4000-8000-${'7'.padStart(12, '0')}`
  const [newest] = await store.listInterceptions({ limit: 1 })
  const middle = new Date((newest?.startedAt.getTime() ?? 0) - 180 * 86_400_000)
  const queries: Record<string, Omit<InterceptionQuery, 'limit'>> = {
    'no filter': {},
    'no filter, from the middle on': { before: { startedAt: middle, id: randomUUID() } },
    'a user': { initiatorId: user },
    'a user who has none': { initiatorId: randomUUID() },
    'a provider that all have': { provider: 'anthropic' },
    'a rare provider': { provider: 'rare-name' },
    'a rare model': { model: 'rare-model' },
    'a rare client': { client: 'Rare' },
    'a session': { clientSessionId: 'session-777' },
    'a rare error': { errorType: 'timeout' },
    'a frequent error': { errorType: 'rate_limited' },
    'one day, half a year ago': { from: new Date(middle.getTime() - 86_400_000), to: middle },
    'a user and a rare error': { initiatorId: user, errorType: 'timeout' },
  }
  console.log('\nA page of 50 among a million interceptions, ms (median of 20)')
  for (const [name, query] of Object.entries(queries)) {
    const times: number[] = []
    for (let round = -3; round < 20; round++) {
      const start = performance.now()
      await store.listInterceptions({ ...query, limit: 50 })
      if (round >= 0) times.push(performance.now() - start)
    }
    console.log(`${name.padEnd(40)}${median(times).toFixed(2).padStart(8)}`)
  }
  for (const [name, usage] of Object.entries({
    'totals by day, all': {},
    'totals by day, 30 days': { from: new Date(Date.now() - 30 * 86_400_000) },
  })) {
    const start = performance.now()
    await store.readUsage({ by: ['day'], limit: 1_000, ...usage })
    console.log(`${name.padEnd(40)}${(performance.now() - start).toFixed(0).padStart(8)}`)
  }
  const client = new pg.Client({ connectionString: server.url() })
  await client.connect()
  const { rows } = await client.query<{ size: string }>('select pg_database_size(current_database()) as size')
  console.log(
    `${'bytes of an interception, four records'.padEnd(40)}${(Number(rows[0]?.size) / 1e6).toFixed(0).padStart(8)}`,
  )
  for (const [name, text] of Object.entries(explained)) {
    const plan = await client.query<{ 'QUERY PLAN': string }>(`explain (costs off) ${text}`)
    console.log(`\n${name}\n${plan.rows.map(row => `  ${row['QUERY PLAN']}`).join('\n')}`)
  }
  await client.end()
  await store.close()
  await server.remove()
}
