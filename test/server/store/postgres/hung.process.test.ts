/** A PostgreSQL server that stands still, as on a machine that is suspended, and goes on later. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createBridgeClient } from '../../../../client/bridge-client.js'
import { type BridgeServer, createBridgeServer } from '../../../../server/control-plane/server.js'
import { openPostgresStore } from '../../../../server/store/postgres/postgres.js'
import type { Store } from '../../../../server/store/store.js'
import { errorCodeOf, mayHaveRunOf } from '../../../../shared/rpc/errors.js'
import { PostgresServer } from '../../../fixtures/postgres-server.js'
import { silentLogger } from '../../../fixtures/stores.js'
import { adminToken, daemon } from '../../services/running-server.js'

const deadlineMs = 500
let postgres: PostgresServer
let store: Store
let server: BridgeServer
let url: string
beforeAll(async () => {
  postgres = await PostgresServer.create()
  const times = { statementTimeoutMs: 1_000, networkTimeoutMs: 500, outageMs: 1_000, listenerCheckMs: 1_000 }
  store = await openPostgresStore({ url: postgres.url(), logger: silentLogger, maxConnections: 4, ...times })
  server = await createBridgeServer({ store, config: { adminToken, encryptionKeys: [new Uint8Array(32)] } })
  url = (await server.listen({ host: '127.0.0.1', port: 0 })).url
})
afterAll(async () => {
  postgres.signal('SIGCONT')
  await server.close({ graceMs: 1_000 })
  await store.close()
  await postgres.remove()
})

const readiness = async () => (await fetch(`${url}/readyz`)).status
const outcomeOf = (done: Promise<unknown>): Promise<unknown> =>
  done.then(
    () => 'done',
    (error: unknown) => ({ code: errorCodeOf(error), mayHaveRun: mayHaveRunOf(error) }),
  )

test('calls to a hung PostgreSQL end by their deadline and say that they may have run; afterwards nothing is doubled, and the pool is whole', async () => {
  const operator = createBridgeClient({ url, key: adminToken, callTimeoutMs: deadlineMs })
  const { recorder, close } = createBridgeClient({
    dial: () => server.connectInMemory({ identity: { ...daemon, daemonInstance: randomUUID() } }),
    callTimeoutMs: deadlineMs,
  })
  const { users, interceptions } = operator.admin
  const usernames = Array.from({ length: 6 }, (_, index) => `user-${index}`)
  const initiatorId = randomUUID()
  const records = Array.from({ length: 6 }, () => ({
    id: randomUUID(),
    initiatorId,
    apiKeyId: 'abcdefghij',
    provider: 'anthropic',
    model: 'claude',
    startedAt: new Date(),
  }))
  const ends = { records: records.map(({ id }) => ({ kind: 'interceptionEnded' as const, id, endedAt: new Date() })) }
  const write = () => [
    ...usernames.map(username => users.create.mutate({ username })),
    ...records.map(record => recorder.recordInterception.mutate(record)),
    recorder.recordBatch.mutate(ends),
  ]
  expect(await Promise.all([outcomeOf(users.list.query()), readiness()])).toEqual(['done', 200])

  postgres.signal('SIGSTOP')
  const began = performance.now()
  const outcomes = await Promise.all(write().map(outcomeOf))
  // The database hangs for longer, so each call was ended by its deadline.
  expect(performance.now() - began).toBeLessThan(10 * deadlineMs)
  expect(outcomes).toEqual(outcomes.map(() => ({ code: 'TIMEOUT', mayHaveRun: true })))
  await expect.poll(readiness, { timeout: 20_000 }).toBe(503)

  postgres.signal('SIGCONT')
  await expect.poll(readiness, { timeout: 20_000 }).toBe(200)
  const again = await Promise.all(write().map(outcomeOf))
  // A name may be taken by the call that timed out.
  const created = again.slice(0, usernames.length)
  for (const outcome of created) expect(['done', { code: 'CONFLICT', mayHaveRun: undefined }]).toContainEqual(outcome)
  expect(again.slice(usernames.length)).toEqual(Array(records.length + 1).fill('done'))
  // The first ends may have come before their interceptions.
  expect((await recorder.recordBatch.mutate(ends)).results).toEqual(records.map(() => ({ ok: true })))
  const names = (await users.list.query()).map(({ username }) => username)
  expect(names.filter(name => usernames.includes(name)).sort()).toEqual(usernames)
  const listed = (await interceptions.list.query({ user: initiatorId })).interceptions
  expect(listed.map(({ id }) => id).sort()).toEqual(records.map(({ id }) => id).sort())
  expect(listed.every(row => row.endedAt !== null && row.endedBy === null)).toBe(true)
  const { entries } = await operator.admin.audit.list.query({ action: 'users.create' })
  expect(entries.length).toBe(usernames.length)

  // More calls at once than the pool has connections.
  await Promise.all(Array.from({ length: 20 }, () => users.list.query()))
  await close()
  await operator.close()
})
