/** This build beside the newest one whose contract has a lower minor, as during an upgrade. */
import Anthropic from '@anthropic-ai/sdk'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type AdminClient, withAdmin } from '../../server/commands/common/admin-client.js'
import type { InterceptionDetail } from '../../shared/contract/admin/interceptions.js'
import { apiVersion } from '../../shared/contract/version.js'
import { formatVersion } from '../../shared/rpc/version.js'
import { makeDatabase } from '../fixtures/stores.js'
import { type Balancer, balance } from './balancer.js'
import { buildCommit, findLowerMinor, type PastCommit } from './lower-minor.js'
import {
  cleanUp,
  type RunningProcess,
  type ServeProcess,
  startDaemon,
  startServe,
  temporaryDirectory,
} from './process.js'
import { type StandIn, startProvider, tokens } from './provider.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 })

const lower = foundOr(findLowerMinor)

function foundOr(find: () => PastCommit): PastCommit | { problem: string } {
  try {
    return find()
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}

test('the history holds a build with a lower minor of the contract', context => {
  if ('commit' in lower) return
  if (process.env.CI) throw new Error(lower.problem)
  context.skip(lower.problem)
})

const name = 'commit' in lower ? `${formatVersion(lower.version)}, ${lower.commit.slice(0, 12)}` : 'none'

describe.skipIf('problem' in lower)(`beside the build with a lower minor of the contract (${name})`, () => {
  const adminToken = 'admin-token-of-two-builds'
  const undo: (() => Promise<unknown>)[] = []
  let provider: StandIn
  let olderProgram: string
  let older: ServeProcess
  let newer: ServeProcess
  let targets: ServeProcess[]
  let balancer: Balancer
  let key: string
  let databaseUrl: string
  const asked: string[] = []

  beforeAll(async () => {
    vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
    if ('problem' in lower) throw new Error(lower.problem)
    olderProgram = await buildCommit(lower)
    provider = await startProvider()
    const database = await makeDatabase({ migrated: false })
    databaseUrl = database.url
    undo.push(() => provider.close(), database.drop)
    const start = async (program?: string) =>
      startServe(await temporaryDirectory(), {
        program,
        env: {
          BRIDGE_ADMIN_TOKEN: adminToken,
          BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
          DATABASE_URL: database.url,
          ANTHROPIC_API_KEY: 'sk-seed',
          ANTHROPIC_BASE_URL: provider.url,
        },
      })
    // The older build makes the database, and the newer one migrates it meanwhile.
    older = await start(olderProgram)
    newer = await start()
    balancer = await balance(() => targets)
    undo.push(balancer.close)
    await admin(({ users }) => users.create.mutate({ username: 'alice' }))
    key = (await admin(({ apiKeys }) => apiKeys.create.mutate({ user: 'alice' }))).key
  })
  afterAll(async () => {
    await cleanUp()
    for (const work of undo.reverse()) await work()
    vi.unstubAllEnvs()
  })

  const admin = <T>(work: (admin: AdminClient) => Promise<T>): Promise<T> =>
    withAdmin({ data: newer.dataDir, port: newer.port }, work)

  async function daemonOf(program?: string): Promise<RunningProcess> {
    const created = await admin(({ daemonKeys }) => daemonKeys.create.mutate({ name: program ? 'older' : 'newer' }))
    return startDaemon(balancer.url, created.key, { program })
  }

  /** Asks through the bridge of a process, streamed or blocking, and checks the response. */
  async function ask({ url }: RunningProcess, prompt: string, way: 'streamed' | 'blocking'): Promise<void> {
    const client = new Anthropic({ baseURL: `${url}/bridge/anthropic`, authToken: key, apiKey: null, maxRetries: 0 })
    const content = `${prompt}, ${way}`
    const request = { model: 'm', max_tokens: 9, messages: [{ role: 'user' as const, content }] }
    asked.push(content)
    const message =
      way === 'streamed' ? await client.messages.stream(request).finalMessage() : await client.messages.create(request)
    expect(message.content).toMatchObject([{ type: 'text', text: tokens.join('') }])
  }

  async function stop(stopped: RunningProcess): Promise<void> {
    stopped.kill('SIGTERM')
    expect(await stopped.exited).toEqual({ code: 0, signal: null })
    expect(faultsIn(stopped)).toEqual([])
  }

  /** Every question is recorded once, with its tokens and its end. */
  async function expectRecorded(): Promise<void> {
    await expect
      .poll(
        async () => (await everyInterception(admin)).filter(({ interception }) => interception.endedAt !== null).length,
      )
      .toBeGreaterThanOrEqual(asked.length)
    const details = await everyInterception(admin)
    expect(details.flatMap(({ promptUsages }) => promptUsages.map(({ prompt }) => prompt)).sort()).toEqual(asked.sort())
    for (const { interception, tokenUsages } of details) {
      expect(interception).toMatchObject({ endedAt: expect.any(Date), errorType: null })
      expect(tokenUsages).toMatchObject([{ inputTokens: 11, outputTokens: 7 }])
    }
  }

  /** Whichever server stored a record: the feed has the record once. */
  async function expectWholeFeed(): Promise<void> {
    const client = new pg.Client({ connectionString: databaseUrl })
    await client.connect()
    const { rows: noted } = await client.query('select kind, id from record_feed order by kind, id')
    const { rows: stored } = await client.query(`
      select * from (
        select 'interception' as kind, id from interceptions
        union all select 'interceptionEnded', id from interceptions where ended_at is not null
        union all select 'tokenUsage', id from token_usages union all select 'promptUsage', id from user_prompts
        union all select 'toolUsage', id from tool_usages union all select 'modelThought', id from model_thoughts
      ) as records order by kind, id`)
    await client.end()
    expect(noted).toEqual(stored)
  }

  test('a daemon of the lower minor works with a server of this one', async () => {
    targets = [newer]
    const daemon = await daemonOf(olderProgram)
    await ask(daemon, 'an older daemon', 'streamed')
    await ask(daemon, 'an older daemon', 'blocking')
    await stop(daemon)
    await expectRecorded()
  })

  test('a daemon of this minor waits while its server is older, and serves when the server is of this minor', async () => {
    targets = [older]
    const daemon = await daemonOf()
    const { err } = await daemon.logged('the link to the control plane failed')
    const [newerVersion, olderVersion] = [formatVersion(apiVersion), name.split(',')[0]]
    const rejection = `409: a client of version ${newerVersion} cannot talk to this server of version ${olderVersion}`
    expect(err).toMatchObject({ message: expect.stringContaining(rejection) })
    expect((await fetch(`${daemon.url}/readyz`)).status).toBe(503)
    const waiting = ask(daemon, 'a daemon that waits', 'streamed')
    targets = [newer]
    await waiting
    await stop(daemon)
    await expectRecorded()
  })

  test('servers of both minors share a database under load from daemons of both: every record is there once', async () => {
    targets = [older, newer]
    const daemons = await Promise.all([daemonOf(olderProgram), daemonOf()])
    const bridges = {
      'older daemon': daemons[0],
      'newer daemon': daemons[1],
      'older server': older,
      'newer server': newer,
    }
    await Promise.all(
      Object.entries(bridges).flatMap(([bridge, running]) =>
        ([1, 2] as const).map(async worker => {
          for (let turn = 0; turn < 3; turn++) {
            await ask(running, `${bridge}, worker ${worker}, turn ${turn}`, turn % 2 === 0 ? 'streamed' : 'blocking')
          }
        }),
      ),
    )
    await Promise.all(daemons.map(stop))
    await stop(older)
    await expectRecorded()
    await expectWholeFeed()
    await stop(newer)
  })
})

/** Returns the log lines of errors, and of conflicts other than that of the versions. */
function faultsIn({ stderr }: RunningProcess): string[] {
  const lines = stderr().split('\n').filter(Boolean)
  return lines.filter(line => {
    const { level, msg }: { level?: unknown; msg?: unknown } = JSON.parse(line)
    if (msg === 'the link to the control plane failed') return false
    return Number(level) >= 50 || line.includes('CONFLICT')
  })
}

async function everyInterception(
  admin: <T>(work: (admin: AdminClient) => Promise<T>) => Promise<T>,
): Promise<InterceptionDetail[]> {
  return admin(async ({ interceptions }) => {
    const page = await interceptions.list.query({ limit: 200 })
    expect(page.nextCursor).toBeNull()
    return Promise.all(page.interceptions.map(({ id }) => interceptions.get.query({ id })))
  })
}
