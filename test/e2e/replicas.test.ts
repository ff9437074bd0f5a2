/** Several control planes on one PostgreSQL, as processes, behind a balancer. */
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { type AdminClient, withAdmin } from '../../server/commands/common/admin-client.js'
import type { InterceptionDetail } from '../../shared/contract/admin/interceptions.js'
import type { WatchEvent } from '../../shared/contract/admin/watch.js'
import { PostgresServer } from '../fixtures/postgres-server.js'
import { type Balancer, balance } from './balancer.js'
import {
  cleanUp,
  follow,
  type RunningProcess,
  type ServeProcess,
  startDaemon,
  startServe,
  temporaryDirectory,
} from './process.js'
import { type StandIn, startProvider, tokens } from './provider.js'

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 })

const adminToken = 'admin-token-of-the-replicas'
let postgres: PostgresServer
let provider: StandIn
let replicas: ServeProcess[]
let balancer: Balancer
let database = 0

beforeAll(async () => {
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  postgres = await PostgresServer.create()
  provider = await startProvider()
})
afterAll(async () => {
  await provider.close()
  await postgres.remove()
  vi.unstubAllEnvs()
})
beforeEach(async () => {
  await postgres.execute(`create database replicas_${++database}`)
  // Both find an empty database at the same moment.
  replicas = await Promise.all([startReplica(), startReplica()])
  balancer = await balance(() => replicas)
})
afterEach(async () => {
  await cleanUp()
  await balancer.close()
})

async function startReplica(): Promise<ServeProcess> {
  return startServe(await temporaryDirectory(), {
    env: {
      BRIDGE_ADMIN_TOKEN: adminToken,
      BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
      DATABASE_URL: postgres.url(`replicas_${database}`),
      ANTHROPIC_API_KEY: 'sk-seed',
      ANTHROPIC_BASE_URL: provider.url,
    },
  })
}

const adminOf = <T>(replica: ServeProcess, work: (admin: AdminClient) => Promise<T>): Promise<T> =>
  withAdmin({ data: replica.dataDir, port: replica.port }, work)

async function makeUser(): Promise<string> {
  const [first, second] = bothReplicas()
  await adminOf(first, ({ users }) => users.create.mutate({ username: 'alice' }))
  return (await adminOf(second, ({ apiKeys }) => apiKeys.create.mutate({ user: 'alice' }))).key
}

function bothReplicas(): [ServeProcess, ServeProcess] {
  const [first, second] = replicas
  if (!first || !second) throw new Error('two replicas run')
  return [first, second]
}

async function startDaemons(names: string[]): Promise<RunningProcess[]> {
  const [first] = bothReplicas()
  return Promise.all(
    names.map(async name => {
      const { key } = await adminOf(first, ({ daemonKeys }) => daemonKeys.create.mutate({ name }))
      return startDaemon(balancer.url, key)
    }),
  )
}

async function ask({ url }: { url: string }, key: string, content: string): Promise<string> {
  const client = new Anthropic({ baseURL: `${url}/bridge/anthropic`, authToken: key, apiKey: null, maxRetries: 0 })
  return client.messages.stream({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content }] }).finalText()
}

/** Asks all the time, from two workers at each daemon, until it is stopped; then returns every question. */
function load(daemons: RunningProcess[], key: string) {
  const asked: string[] = []
  let loading = true
  const workers = daemons.flatMap((daemon, index) =>
    [1, 2].map(async worker => {
      for (let turn = 0; loading; turn++) {
        const prompt = `daemon ${index} worker ${worker} turn ${turn}`
        asked.push(prompt)
        expect(await ask(daemon, key, prompt)).toBe(tokens.join(''))
      }
    }),
  )
  return {
    /** Resolves when so many more were asked. */
    more: (count: number) => {
      const enough = asked.length + count
      return expect.poll(() => asked.length, { timeout: 40_000 }).toBeGreaterThanOrEqual(enough)
    },
    async stop(): Promise<string[]> {
      loading = false
      await Promise.all(workers)
      for (const daemon of daemons) {
        daemon.kill('SIGTERM')
        expect(await daemon.exited).toEqual({ code: 0, signal: null })
      }
      return asked
    },
  }
}

async function everyInterception(replica: ServeProcess): Promise<InterceptionDetail[]> {
  return adminOf(replica, async ({ interceptions }) => {
    const details: InterceptionDetail[] = []
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page: Awaited<ReturnType<typeof interceptions.list.query>> = await interceptions.list.query({
        limit: 200,
        ...(cursor !== undefined && { cursor }),
      })
      details.push(...(await Promise.all(page.interceptions.map(({ id }) => interceptions.get.query({ id })))))
      cursor = page.nextCursor
    }
    return details
  })
}

/** Every question once, with its tokens and its end. */
function expectRecorded(details: InterceptionDetail[], asked: string[]): void {
  expect(details.flatMap(({ promptUsages }) => promptUsages.map(({ prompt }) => prompt)).sort()).toEqual(asked.sort())
  for (const { interception, tokenUsages } of details) {
    expect(interception).toMatchObject({ endedAt: expect.any(Date), errorType: null })
    expect(tokenUsages).toMatchObject([{ inputTokens: 11, outputTokens: 7 }])
  }
}

/** The events of `interceptions tail` on a replica, as long as it prints. */
function tail(url: string) {
  const { port } = new URL(url)
  const { line, kill } = follow(['interceptions', 'tail', '--json', '--port', port], { BRIDGE_ADMIN_TOKEN: adminToken })
  const events: ({ id: string } & WatchEvent)[] = []
  const reading = (async () => {
    for (;;) events.push(JSON.parse(await line()))
  })().catch(() => {})
  return {
    events,
    async stop() {
      kill('SIGINT')
      await reading
    },
  }
}

test('one of two control planes is killed under load: no request fails, every record is there once, watchers go on', async () => {
  const [killed, stays] = bothReplicas()
  const key = await makeUser()
  const daemons = await startDaemons(['one', 'two', 'three'])
  const watchers = [tail(balancer.url), tail(stays.url)]
  await expect.poll(() => watchers.map(({ events }) => events.length)).toEqual([1, 1])
  const work = load(daemons, key)
  await work.more(12)
  replicas = [stays]
  killed.kill('SIGKILL')
  await killed.exited
  await work.more(12)
  const asked = await work.stop()
  const details = await everyInterception(stays)
  expectRecorded(details, asked)

  const count = details.length * 4 // an interception, its prompt, its tokens, its end
  for (const { events, stop } of watchers) {
    await expect.poll(() => events.length).toBe(count + 1)
    await stop()
    const records = events.filter(event => event.kind !== 'watching')
    expect(new Set(records.map(({ kind, record }) => `${kind} ${record.id}`)).size).toBe(count)
    const positions = events.map(({ id }) => Number(id))
    expect(positions).toEqual([...positions].sort((a, b) => a - b))
  }
})

test('PostgreSQL is killed under load and started again: no request fails, and every record is there once', async () => {
  const [first] = bothReplicas()
  const key = await makeUser()
  const work = load([...(await startDaemons(['one']))], key)
  await work.more(8)
  await postgres.stop('SIGKILL')
  await postgres.start()
  await work.more(8)
  const asked = await work.stop()
  expectRecorded(await everyInterception(first), asked)
  for (const replica of replicas) expect((await fetch(`${replica.url}/readyz`)).status).toBe(200)
})

test('a change on one replica reaches the daemons of the other: providers within a second, revoked keys at once', async () => {
  const [first, second] = bothReplicas()
  const key = await makeUser()
  // The environment's provider is in the database once, whichever of the two was first.
  for (const replica of replicas) {
    const list = await adminOf(replica, ({ providers }) => providers.list.query())
    expect(list.map(({ name, keys }) => [name, keys.length])).toEqual([
      ['anthropic', 1],
      ['demo', 0],
    ])
  }
  const created = await adminOf(first, ({ daemonKeys }) => daemonKeys.create.mutate({ name: 'far' }))
  const daemon = await startDaemon(second.url, created.key)
  expect(await ask(daemon, key, 'one')).toBe(tokens.join(''))
  const disabledAt = performance.now()
  await adminOf(first, ({ providers }) => providers.setEnabled.mutate({ name: 'anthropic', enabled: false }))
  await expect
    .poll(
      () =>
        ask(daemon, key, 'two').then(
          () => 200,
          (error: { status?: number }) => error.status,
        ),
      { interval: 5 },
    )
    .toBe(403)
  expect(performance.now() - disabledAt).toBeLessThan(2_000) // two processes beside it; the contract test limits the time of the signal
  await adminOf(first, ({ daemonKeys }) => daemonKeys.revoke.mutate({ id: created.id }))
  expect(await daemon.exited).toEqual({ code: 1, signal: null })
})
