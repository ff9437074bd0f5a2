import { execFile, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type AdminClient, withAdmin } from '../../server/commands/common/admin-client.js'
import type { ApiKey, CreatedApiKey } from '../../shared/contract/admin/api-keys.js'
import type { InterceptionDetail, InterceptionsPage } from '../../shared/contract/admin/interceptions.js'
import type { ProviderSummary } from '../../shared/contract/admin/providers.js'
import type { User } from '../../shared/contract/admin/users.js'
import { lockFolder } from '../../shared/files/folder-lock.js'
import { makeDatabase } from '../fixtures/stores.js'
import { runWordsJson } from '../server/commands/command-line.js'
import { cleanUp, dataDirectory, run, type ServeProcess, startServe, temporaryDirectory } from './process.js'
import { type StandIn, startProvider, tokens } from './provider.js'

// A server's first start takes seconds, more on a busy machine.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

let provider: StandIn
const adminToken = 'admin-token-of-the-servers'
/** The environment of servers on a PostgreSQL database with a user, a key of theirs, and the provider. */
let onPostgres: Record<string, string>
let key: string
beforeAll(async () => {
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  provider = await startProvider()
  const database = await makeDatabase()
  onPostgres = {
    BRIDGE_ADMIN_TOKEN: adminToken,
    BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    DATABASE_URL: database.url,
  }
  const server = await startOnPostgres()
  key = await makeKey(server)
  await addProvider(server, 'stand-in')
  await cleanUp()
  return database.drop
})
afterAll(async () => {
  await provider.close()
  vi.unstubAllEnvs()
})

/** Starts a server where the embedded database is not the subject: its start takes most of the time of a test. */
async function startOnPostgres(env: Record<string, string> = {}): Promise<ServeProcess> {
  return startServe(await temporaryDirectory(), { env: { ...onPostgres, ...env } })
}

/** Starts a server with the embedded database of a data directory. */
const startEmbedded = (dataDir: string, env: Record<string, string> = {}): Promise<ServeProcess> =>
  startServe(dataDir, { env: { BRIDGE_ADMIN_TOKEN: adminToken, ...env } })

/** Makes a user and a key of theirs. */
const makeKey = (server: ServeProcess, username = 'alice'): Promise<string> =>
  admin(server, async ({ users, apiKeys }) => {
    await users.create.mutate({ username })
    return (await apiKeys.create.mutate({ user: username })).key
  })

const sdk = ({ url }: ServeProcess, key: string) =>
  new Anthropic({ baseURL: `${url}/bridge/stand-in`, authToken: key, apiKey: null, maxRetries: 0 })

const question: Anthropic.MessageCreateParamsNonStreaming = {
  model: 'claude-test-1',
  max_tokens: 64,
  messages: [{ role: 'user', content: 'How many angels can dance on the head of a pin?' }],
}

const addProvider = (server: ServeProcess, name: string) =>
  admin(server, ({ providers }) =>
    providers.upsert.mutate({ name, type: 'anthropic', baseUrl: provider.url, keys: ['sk-stand-in-key'] }),
  )

/** Status of one request with this key. */
async function statusWith(server: ServeProcess, key: string, name = 'stand-in'): Promise<number> {
  const response = await fetch(`${server.url}/bridge/${name}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify({ ...question, stream: true }),
  })
  await response.text()
  return response.status
}

/** Calls the server as its commands do, without a process for each call. */
const admin = <T>({ dataDir, port }: ServeProcess, work: (admin: AdminClient) => Promise<T>): Promise<T> =>
  withAdmin({ data: dataDir, port }, work)

/** The newest interception with its records, as soon as it has ended. */
async function newestInterception(server: ServeProcess): Promise<InterceptionDetail> {
  for (;;) {
    const page = await admin(server, ({ interceptions }) => interceptions.list.query({ limit: 1 }))
    const [newest] = page.interceptions
    if (newest?.endedAt) return admin(server, ({ interceptions }) => interceptions.get.query({ id: newest.id }))
  }
}

describe('an empty data directory', () => {
  afterEach(cleanUp)

  test('the first start prints the next steps, and its commands work when they are pasted', async () => {
    const dataDir = join(await temporaryDirectory(), 'a data directory')
    const server = await startServe(dataDir)
    const commands = server
      .stdout()
      .split('\n')
      .filter(line => line.startsWith('    '))
    expect(commands).toEqual([
      expect.stringContaining('users create me'),
      expect.stringContaining('keys create --user me --key-only'),
      expect.stringContaining('curl'),
      expect.stringContaining('interceptions list'),
      expect.stringContaining('providers add anthropic'),
      expect.stringMatching(/ claude$/),
    ])
    const hasCurl = spawnSync('curl', ['--version']).status === 0
    const script = [
      'set -euo pipefail',
      'claude() { echo "claude would call $ANTHROPIC_BASE_URL with $ANTHROPIC_AUTH_TOKEN"; }',
      ...commands.filter(command => hasCurl || !command.includes('curl')),
    ].join('\n')
    const { stdout } = await promisify(execFile)('bash', ['-c', script], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ANTHROPIC_API_KEY: 'sk-ant-not-a-real-key' },
    })
    if (hasCurl) {
      expect(stdout).toContain('event: message_stop')
      expect(stdout).toMatch(/demo +demo/)
    }
    expect(stdout).toMatch(/^claude would call (\S+) with [A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/m)
    expect(stdout).toContain(`claude would call ${server.url}/bridge/anthropic with `)
  })
})

/** A start serves several tests: each leaves a running server to the next one. */
describe('a data directory in use', () => {
  let dataDir: string
  let server: ServeProcess
  beforeAll(async () => {
    dataDir = await dataDirectory()
    server = await startMortal()
  })
  afterAll(cleanUp)

  /** Starts a server whose database thread ends at SIGUSR2. */
  function startMortal(): Promise<ServeProcess> {
    const end = "process.on('worker', worker => process.on('SIGUSR2', () => worker.terminate()))"
    return startEmbedded(dataDir, { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(end)}` })
  }

  test('a second process on a data directory fails with the name of the holder', async () => {
    const second = await run(['serve', '--data', dataDir, '--port', server.port])
    expect(second).toMatchObject({ code: 1, stdout: '' })
    expect(failureIn(second.stderr)).toEqual({
      code: 'PRECONDITION_FAILED',
      reason: 'data_in_use',
      message: expect.stringMatching(new RegExp(`\\b${server.pid}\\b`)),
      mayHaveRun: null,
    })
  })

  test('a streamed message is recorded; after kill -9 of its server another one starts and has it', async () => {
    const user = await runWordsJson<User>(['users', 'create', 'alice', ...server.flags])
    expect(user).toMatchObject({ username: 'alice', status: 'active', deletedAt: null })
    const { id, key } = await runWordsJson<CreatedApiKey>(['keys', 'create', '--user', 'alice', ...server.flags])
    expect(key).toMatch(new RegExp(`^${id}-[A-Za-z0-9]{22}$`))
    const added = await run(
      ['providers', 'add', 'stand-in', '--base-url', provider.url, '--key', '-', ...server.flags],
      { input: 'sk-stand-in-key\n', env: { BRIDGE_ADMIN_TOKEN: adminToken } },
    )
    expect(added).toMatchObject({ code: 0, stdout: expect.not.stringContaining('sk-stand-in-key') })

    const gate = provider.gate()
    const stream = sdk(server, key).messages.stream(question)
    // The provider sends nothing after its first token until the gate is open.
    expect(await stream.emitted('text')).toBe(tokens[0])
    gate.open()
    expect(await stream.finalText()).toBe(tokens.join(''))
    expect(provider.requests.at(-1)).toMatchObject({
      path: '/v1/messages',
      headers: { 'x-api-key': 'sk-stand-in-key' },
    })

    const { interception } = await newestInterception(server)
    const page = await runWordsJson<InterceptionsPage>(['interceptions', 'list', ...server.flags])
    expect(page).toMatchObject({ interceptions: [{ id: interception.id }], nextCursor: null })
    const before = await runWordsJson<InterceptionDetail>(['interceptions', 'show', interception.id, ...server.flags])
    expect(before).toMatchObject({
      interception: {
        provider: 'anthropic',
        providerName: 'stand-in',
        model: 'claude-test-1',
        apiKeyId: id,
        errorType: null,
      },
      tokenUsages: [{ inputTokens: 11, outputTokens: 7, cacheReadInputTokens: 0, cacheWriteInputTokens: 0 }],
      promptUsages: [{ prompt: 'How many angels can dance on the head of a pin?' }],
      toolUsages: [],
      modelThoughts: [],
    })
    expect(before.interception.initiatorId).toBe(user.id)

    server.kill('SIGKILL')
    expect(await server.exited).toEqual({ code: null, signal: 'SIGKILL' })
    const again = await startMortal()
    server = again
    expect(again.stdout()).toBe(`aibridge ready at ${again.url}, data in ${dataDir}\n`)
    expect(await runWordsJson<unknown>(['interceptions', 'show', before.interception.id, ...again.flags])).toEqual(
      before,
    )
    expect(await statusWith(again, key)).toBe(200)
  })

  test('the end of the database thread is logged and ends the server with 1; stored records are there at the next start', async () => {
    const user = await admin(server, ({ users }) => users.create.mutate({ username: 'kept' }))
    server.kill('SIGUSR2')
    expect(await server.logged(/^the embedded database has ended/)).toMatchObject({ level: 60 })
    expect(await server.exited).toEqual({ code: 1, signal: null })
    server = await startMortal()
    expect(await admin(server, ({ users }) => users.list.query())).toContainEqual(user)
  })
})

describe('a data directory', () => {
  afterEach(cleanUp)

  test('a busy port ends the start and leaves the directory free', async () => {
    const dataDir = await dataDirectory()
    const other = createServer()
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const address = other.address()
    const port = typeof address === 'object' ? String(address?.port) : ''
    const rejected = await run(['serve', '--data', dataDir, '--port', port])
    other.close()
    expect(rejected).toMatchObject({ code: 1, stdout: '' })
    expect(failureIn(rejected.stderr)).toEqual({
      code: 'PRECONDITION_FAILED',
      reason: 'port_in_use',
      message: `another process listens on 127.0.0.1:${port}; choose another port with --port`,
      mayHaveRun: null,
    })
    const lock = await lockFolder(dataDir, 'data directory')
    await lock.release()
  })

  test('a corrupt database ends the start', async () => {
    const dataDir = await dataDirectory()
    await writeFile(join(dataDir, 'pg/global/pg_control'), 'no control file')
    const { code, stderr } = await run(['serve', '--data', dataDir, '--port', '0'])
    expect(code).toBe(1)
    expect(failureIn(stderr)).toMatchObject({ reason: 'database_corrupt', message: expect.stringContaining(dataDir) })
  })
})

describe('a server', () => {
  afterEach(cleanUp)

  test('a server rejects an encryption key that opens none of its secrets, and accepts the key beside the old one', async () => {
    const database = await makeDatabase()
    onTestFinished(database.drop)
    const itsDatabase = { DATABASE_URL: database.url }
    const server = await startOnPostgres(itsDatabase)
    const itsKey = await makeKey(server)
    const client = { tokenUrl: 'https://id.example.com/token', clientId: 'bridge', clientSecret: 'MARKED-secret' }
    await admin(server, async ({ mcpServers }) => {
      await mcpServers.upsert.mutate({ id: 'wiki', url: 'https://wiki.example.com/mcp', ...client })
    })
    server.kill('SIGTERM')
    await server.exited
    const other = Buffer.alloc(32, 1).toString('hex')
    const { code, stderr } = await run(['serve', '--data', server.dataDir, '--port', '0'], {
      env: { ...onPostgres, ...itsDatabase, BRIDGE_ENCRYPTION_KEY: other },
    })
    expect(code).toBe(1)
    expect(failureIn(stderr)).toMatchObject({
      reason: 'config_invalid',
      message: expect.stringMatching(/^BRIDGE_ENCRYPTION_KEY: opens none of the secrets in the database/),
    })
    expect(stderr).not.toContain(other)
    const keys = `${other},${onPostgres.BRIDGE_ENCRYPTION_KEY}`
    const rotating = await startOnPostgres({ ...itsDatabase, BRIDGE_ENCRYPTION_KEY: keys })
    await addProvider(rotating, 'stand-in')
    expect(await statusWith(rotating, itsKey)).toBe(200)
  })

  test('SIGTERM lets a running stream end, records it and exits 0', async () => {
    const server = await startOnPostgres()
    const gate = provider.gate()
    const stream = sdk(server, key).messages.stream(question)
    await stream.emitted('text')
    server.kill('SIGTERM')
    await server.logged(/^stopping/)
    gate.open()
    expect(await stream.finalText()).toBe(tokens.join(''))
    expect(await server.exited).toEqual({ code: 0, signal: null })
    expect(await newestInterception(await startOnPostgres())).toMatchObject({
      interception: { errorType: null, endedAt: expect.any(Date) },
      tokenUsages: [{ inputTokens: 11, outputTokens: 7 }],
    })
  })

  test('an uncaught exception is logged and ends the server with 1', async () => {
    const fault = "process.on('SIGUSR2', () => { throw new Error('made-up-fault') })"
    const server = await startOnPostgres({
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(fault)}`,
    })
    server.kill('SIGUSR2')
    expect(await server.logged(/^uncaughtException/)).toMatchObject({ level: 60, err: { message: 'made-up-fault' } })
    expect(await server.exited).toEqual({ code: 1, signal: null })
    expect(server.stderr()).toContain('"msg":"stopped"')
  })

  test('a second signal exits 130 at once', async () => {
    const server = await startOnPostgres()
    const gate = provider.gate()
    const stream = sdk(server, key).messages.stream(question)
    const ended = expect(stream.finalText()).rejects.toThrow()
    await stream.emitted('text')
    server.kill('SIGINT')
    await server.logged(/^stopping/)
    server.kill('SIGINT')
    expect(await server.exited).toEqual({ code: 130, signal: null })
    await ended
    gate.open()
  })
})

describe('a running server', () => {
  let server: ServeProcess
  beforeAll(async () => {
    server = await startOnPostgres()
  })
  afterAll(cleanUp)

  test('a provider serves from its addition on, is rejected when disabled, unknown when removed', async () => {
    expect(await statusWith(server, key, 'another')).toBe(404)
    await addProvider(server, 'another')
    expect(await statusWith(server, key, 'another')).toBe(200)
    const list = await runWordsJson<ProviderSummary[]>(['providers', 'list', ...server.flags])
    expect(list).toContainEqual(
      expect.objectContaining({
        name: 'another',
        type: 'anthropic',
        enabled: true,
        baseUrl: provider.url,
        keys: [expect.any(String)],
      }),
    )
    expect(JSON.stringify(list)).not.toContain('sk-stand-in-key')
    expect(await runWordsJson<ProviderSummary>(['providers', 'disable', 'another', ...server.flags])).toMatchObject({
      enabled: false,
    })
    await untilStatus(server, key, 403, 'another')
    expect(await runWordsJson<ProviderSummary>(['providers', 'enable', 'another', ...server.flags])).toMatchObject({
      enabled: true,
    })
    await untilStatus(server, key, 200, 'another')
    await runWordsJson<unknown>(['providers', 'remove', 'another', ...server.flags])
    await untilStatus(server, key, 404, 'another')
  })

  test('a revoked key, an expired key and a suspended user are rejected', async () => {
    const bobsKey = await makeKey(server, 'bob')
    const create = async (...args: string[]) =>
      await runWordsJson<CreatedApiKey>(['keys', 'create', '--user', 'bob', ...args, ...server.flags])
    const revoked = await create()
    expect(await runWordsJson<unknown>(['keys', 'revoke', revoked.id, ...server.flags])).toMatchObject({
      id: revoked.id,
    })
    expect(await statusWith(server, revoked.key)).toBe(401)

    const expiring = await create('--expires', '5s')
    expect(expiring.expiresAt).toMatch(/^\d{4}-.*Z$/)
    expect(await statusWith(server, bobsKey)).toBe(200)
    await runWordsJson<unknown>(['users', 'suspend', 'bob', ...server.flags])
    await Promise.all([untilStatus(server, expiring.key, 401), untilStatus(server, bobsKey, 403)])
    const keys = await runWordsJson<ApiKey[]>(['keys', 'list', '--user', 'bob', ...server.flags])
    expect(keys.map(({ expiresAt }) => expiresAt !== null)).toEqual([false, true, true])
  })
})

/** Sends requests until one gets `status`; an earlier decision may be cached for five seconds. */
async function untilStatus(server: ServeProcess, key: string, status: number, name?: string): Promise<void> {
  await expect.poll(() => statusWith(server, key, name), { interval: 50, timeout: 20_000 }).toBe(status)
}

/** The one line of JSON that says why a command failed; log lines have a level. */
function failureIn(stderr: string): unknown {
  const lines = stderr.trim().split('\n')
  const failures = lines.map((line): unknown => JSON.parse(line)).filter(line => !Object.hasOwn(Object(line), 'level'))
  expect(failures).toHaveLength(1)
  return failures[0]
}
