import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type AdminClient, withAdmin } from '../../server/commands/common/admin-client.js'
import type { CreatedDaemonKey, DaemonKey } from '../../shared/contract/admin/daemon-keys.js'
import type { InterceptionDetail, InterceptionsPage } from '../../shared/contract/admin/interceptions.js'
import { makeDatabase } from '../fixtures/stores.js'
import { runWordsJson } from '../server/commands/command-line.js'
import {
  cleanUp,
  type RunningProcess,
  run,
  type ServeProcess,
  startDaemon,
  startServe,
  temporaryDirectory,
} from './process.js'
import { type StandIn, startProvider, tokens } from './provider.js'

// A server's start takes a second, more on a busy machine.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

let provider: StandIn
let server: ServeProcess
let key: string
/**
 * The database of the test's control plane, and its secrets: a start with the embedded database takes three times as
 * long.
 */
let environment: { BRIDGE_ADMIN_TOKEN: string; BRIDGE_ENCRYPTION_KEY: string; DATABASE_URL: string }

/** Calls the server as its commands do, without a process for each call. */
const admin = <T>(work: (admin: AdminClient) => Promise<T>): Promise<T> =>
  withAdmin({ data: server.dataDir, port: server.port }, work)

beforeAll(async () => {
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', 'admin-token-of-the-control-plane')
  provider = await startProvider()
})
afterAll(async () => {
  await provider.close()
  vi.unstubAllEnvs()
})

afterEach(cleanUp)

/** A control plane with a user and a provider. */
async function startControlPlane(): Promise<void> {
  const database = await makeDatabase()
  onTestFinished(database.drop)
  environment = {
    BRIDGE_ADMIN_TOKEN: 'admin-token-of-the-control-plane',
    BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    DATABASE_URL: database.url,
  }
  server = await startServe(await temporaryDirectory(), { env: environment })
  key = await admin(async ({ users, apiKeys, providers }) => {
    await users.create.mutate({ username: 'alice' })
    await providers.upsert.mutate({ name: 'stand-in', type: 'anthropic', baseUrl: provider.url, keys: ['sk-test'] })
    return (await apiKeys.create.mutate({ user: 'alice' })).key
  })
}

const daemonKey = (input: { name?: string; delegate?: boolean } = {}): Promise<CreatedDaemonKey> =>
  admin(({ daemonKeys }) => daemonKeys.create.mutate(input))

/** Starts the control plane again, where it was. */
async function restart(): Promise<void> {
  server = await startServe(server.dataDir, { args: ['--port', server.port], env: environment })
}

function sdk({ url }: Pick<RunningProcess, 'url'>): Anthropic {
  return new Anthropic({ baseURL: `${url}/bridge/stand-in`, authToken: key, apiKey: null, maxRetries: 0 })
}

async function ask(client: Anthropic, content: string): Promise<string> {
  return client.messages.stream({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content }] }).finalText()
}

/** Every interception that is stored, with its records. */
function everyInterception(): Promise<InterceptionDetail[]> {
  return admin(async ({ interceptions }) => {
    const ids: string[] = []
    let cursor: string | null = null
    do {
      const page: InterceptionsPage = await interceptions.list.query({ limit: 200, ...(cursor !== null && { cursor }) })
      ids.push(...page.interceptions.map(({ id }) => id))
      cursor = page.nextCursor
    } while (cursor !== null)
    return Promise.all(ids.map(id => interceptions.get.query({ id })))
  })
}

describe('two remote daemons', () => {
  beforeEach(startControlPlane)

  test('a control plane that is restarted under load has every interception once, and no request fails', async () => {
    const daemons = await Promise.all(
      ['one', 'two'].map(async name => startDaemon(server.url, (await daemonKey({ name })).key)),
    )
    const asked: string[] = []
    let loading = true
    const load = daemons.flatMap((daemon, index) =>
      [1, 2].map(async worker => {
        const client = sdk(daemon)
        for (let turn = 0; loading; turn++) {
          const prompt = `daemon ${index} worker ${worker} turn ${turn}`
          asked.push(prompt)
          expect(await ask(client, prompt)).toBe(tokens.join(''))
        }
      }),
    )
    const responded = (count: number): Promise<void> =>
      expect.poll(() => asked.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(count)

    await responded(12)
    server.kill('SIGTERM')
    expect(await server.exited).toEqual({ code: 0, signal: null })
    // Requests go on, or wait, while no control plane is there.
    await Promise.all(daemons.map(daemon => daemon.logged('the link to the control plane failed')))
    await restart()
    await responded(asked.length + 12)
    loading = false
    await Promise.all(load)
    for (const daemon of daemons) {
      daemon.kill('SIGTERM')
      expect(await daemon.exited).toEqual({ code: 0, signal: null })
    }

    const details = await everyInterception()
    const prompts = details.map(({ promptUsages }) => promptUsages.map(({ prompt }) => prompt).join('|'))
    expect(prompts.sort()).toEqual(asked.sort())
    for (const { interception, tokenUsages } of details) {
      expect(interception).toMatchObject({ endedAt: expect.any(Date), errorType: null })
      expect(tokenUsages).toMatchObject([{ inputTokens: 11, outputTokens: 7 }])
    }
  })

  test('a daemon with --no-content, and one with BRIDGE_CONTENT=false, record no words', async () => {
    const { key: daemonsKey } = await daemonKey()
    await Promise.all(
      [{ args: ['--no-content'] }, { env: { BRIDGE_CONTENT: 'false' } }].map(async options => {
        const daemon = await startDaemon(server.url, daemonsKey, options)
        expect(await ask(sdk(daemon), 'MARKED words')).toBe(tokens.join(''))
        daemon.kill('SIGTERM')
        await daemon.exited
      }),
    )
    const details = await everyInterception()
    expect(details).toHaveLength(2)
    for (const { promptUsages, tokenUsages } of details) {
      expect(promptUsages).toMatchObject([{ prompt: '', metadata: { original_bytes: { prompt: 12 } } }])
      expect(tokenUsages).toMatchObject([{ inputTokens: 11, outputTokens: 7 }])
    }
  })

  test('a daemon loses no record when its control plane is killed', async () => {
    const daemon = await startDaemon(server.url, (await daemonKey()).key)
    const gate = provider.gate()
    const stream = sdk(daemon).messages.stream({
      model: 'm',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'during the outage' }],
    })
    await stream.emitted('text')
    server.kill('SIGKILL')
    await server.exited
    gate.open()
    expect(await stream.finalText()).toBe(tokens.join(''))
    await restart()
    await daemon.logged('connected to the control plane')
    daemon.kill('SIGTERM')
    expect(await daemon.exited).toEqual({ code: 0, signal: null })
    expect(await everyInterception()).toMatchObject([
      {
        interception: { errorType: null, endedAt: expect.any(Date) },
        promptUsages: [{ prompt: 'during the outage' }],
        tokenUsages: [{ inputTokens: 11, outputTokens: 7 }],
      },
    ])
  })
})

describe('a daemon key', () => {
  test('a revoked daemon key ends its daemon with 1, and is rejected afterwards', async () => {
    await startControlPlane()
    const args = ['daemon-keys', 'create', '--name', 'paris', '--delegate']
    const created = await runWordsJson<CreatedDaemonKey>([...args, ...server.flags])
    const daemon = await startDaemon(server.url, created.key)
    expect(await ask(sdk(daemon), 'hello')).toBe(tokens.join(''))
    const [listed] = await runWordsJson<DaemonKey[]>(['daemon-keys', 'list', ...server.flags])
    expect(listed).toMatchObject({
      id: created.id,
      name: 'paris',
      delegate: true,
      revokedAt: null,
      lastSeenAt: expect.any(String),
      buildVersion: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    })
    expect(JSON.stringify(listed)).not.toContain(created.key.slice(11))
    await runWordsJson(['daemon-keys', 'revoke', created.id, ...server.flags])
    expect(await daemon.exited).toEqual({ code: 1, signal: null })
    expect(JSON.parse(daemon.stderr().trim().split('\n').at(-1) ?? '')).toMatchObject({
      code: 'FORBIDDEN',
      reason: 'key_revoked',
    })
    const keys = [created.key, `${'a'.repeat(10)}-${'b'.repeat(22)}`]
    // One line of the log and the failure of the command: parts that the rejection ends as well log nothing.
    expect(await Promise.all(keys.map(runDaemon))).toMatchObject([
      {
        code: 1,
        lines: [
          { level: 50, reason: 'key_revoked' },
          { code: 'FORBIDDEN', reason: 'key_revoked' },
        ],
      },
      {
        code: 1,
        lines: [
          { level: 50, reason: 'key_invalid' },
          { code: 'UNAUTHORIZED', reason: 'key_invalid' },
        ],
      },
    ])
    for (const output of [daemon.stdout(), daemon.stderr(), server.stderr()]) expect(output).not.toContain(created.key)
  })

  test('a daemon without a daemon key does not start, also with the admin token in its place', async () => {
    const url = 'http://127.0.0.1:9'
    const environments = [{}, { BRIDGE_DAEMON_KEY: 'MARKED-secret' }]
    const args = ['daemon', '--url', url, '--port', '0']
    for (const { code, stderr } of await Promise.all(environments.map(env => run(args, { env })))) {
      expect(code).toBe(1)
      expect(JSON.parse(stderr)).toMatchObject({ code: 'BAD_REQUEST', reason: 'config_invalid' })
      expect(stderr).not.toContain('MARKED')
    }
  })

  async function runDaemon(text: string): Promise<{ code: number | null; lines: unknown[] }> {
    const { code, stderr } = await run(['daemon', '--url', server.url, '--port', '0'], {
      env: { BRIDGE_DAEMON_KEY: text },
    })
    const lines = stderr.trim().split('\n')
    return { code, lines: lines.map(line => JSON.parse(line)) }
  }
})

test('a daemon that starts before its control plane is not ready, and serves once it is there', async () => {
  await startControlPlane()
  const { key: itsKey } = await daemonKey()
  server.kill('SIGTERM')
  await server.exited
  const daemon = await startDaemon(server.url, itsKey)
  expect((await fetch(`${daemon.url}/healthz`)).status).toBe(200)
  expect((await fetch(`${daemon.url}/readyz`)).status).toBe(503)
  await restart()
  await daemon.logged('connected to the control plane')
  expect(await ask(sdk(daemon), 'early bird')).toBe(tokens.join(''))
  const ready = await fetch(`${daemon.url}/readyz`)
  expect([ready.status, await ready.json()]).toEqual([
    200,
    { ready: true, controlPlane: 'ok', store: 'ok', bridge: 'ok', draining: false },
  ])
})
