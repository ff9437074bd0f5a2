import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { type AdminClient, withAdmin } from '../../server/commands/common/admin-client.js'
import type { InterceptionDetail } from '../../shared/contract/admin/interceptions.js'
import { makeDatabase } from '../fixtures/stores.js'
import {
  cleanUp,
  type RunningProcess,
  type ServeProcess,
  startDaemon,
  startServe,
  temporaryDirectory,
} from './process.js'
import { type StandIn, startProvider, tokens } from './provider.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const adminToken = 'admin-token-of-the-control-plane'
const text = tokens.join('')

let provider: StandIn
let server: ServeProcess
let daemon: RunningProcess
let environment: { BRIDGE_ADMIN_TOKEN: string; BRIDGE_ENCRYPTION_KEY: string; DATABASE_URL: string }
let daemonKey: string
let daemonData: string
let key: string

const admin = <T>(work: (admin: AdminClient) => Promise<T>): Promise<T> =>
  withAdmin({ data: server.dataDir, port: server.port }, work)

beforeAll(async () => {
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  provider = await startProvider()
})
afterAll(async () => {
  await provider.close()
  vi.unstubAllEnvs()
})
afterEach(cleanUp)

/** A control plane on PostgreSQL, with a user, a provider and a daemon whose outbox outlives it. */
beforeEach(async () => {
  const database = await makeDatabase()
  onTestFinished(database.drop)
  environment = {
    BRIDGE_ADMIN_TOKEN: adminToken,
    BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    DATABASE_URL: database.url,
  }
  server = await startServe(await temporaryDirectory(), { env: environment })
  await admin(async ({ users, apiKeys, providers, daemonKeys }) => {
    await users.create.mutate({ username: 'alice' })
    await providers.upsert.mutate({ name: 'stand-in', type: 'anthropic', baseUrl: provider.url, keys: ['sk-test'] })
    key = (await apiKeys.create.mutate({ user: 'alice' })).key
    daemonKey = (await daemonKeys.create.mutate({ name: 'remote' })).key
  })
  daemonData = await temporaryDirectory()
})

async function runDaemon(...args: string[]): Promise<void> {
  daemon = await startDaemon(server.url, daemonKey, { args, env: { BRIDGE_DATA: daemonData } })
}

async function restart(): Promise<void> {
  server = await startServe(server.dataDir, { args: ['--port', server.port], env: environment })
}

/** Begins a stream; resolves when the client has its first token. */
async function begin(content: string): Promise<{ text: Promise<string> }> {
  const client = new Anthropic({
    baseURL: `${daemon.url}/bridge/stand-in`,
    authToken: key,
    apiKey: null,
    maxRetries: 0,
  })
  const stream = client.messages.stream({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content }] })
  const whole = stream.finalText()
  whole.catch(() => {})
  await new Promise<void>((resolve, reject) => {
    stream.once('text', () => resolve())
    whole.catch(reject)
  })
  return { text: whole }
}

/** Resolves with all interceptions once as many have ended. */
async function ended(count: number): Promise<InterceptionDetail[]> {
  const read = () =>
    admin(async ({ interceptions }) => {
      const page = await interceptions.list.query({ limit: 200 })
      return Promise.all(page.interceptions.map(({ id }) => interceptions.get.query({ id })))
    })
  const isEnded = ({ interception }: InterceptionDetail) => interception.endedAt !== null
  await expect.poll(async () => (await read()).filter(isEnded).length, { timeout: 30_000 }).toBe(count)
  return read()
}

test('a response that its client has whole is recorded, whole and once, if control plane and daemon are killed', async () => {
  await runDaemon()
  const gate = provider.gate()
  const stream = await begin('hello')
  server.kill('SIGKILL')
  await server.exited
  gate.open()
  expect(await stream.text).toBe(text)
  daemon.kill('SIGKILL')
  await daemon.exited
  await restart()
  await runDaemon()
  await daemon.logged('an earlier process left records in the outbox; they are handed over now')
  expect(await ended(1)).toMatchObject([
    {
      interception: { errorType: null, endedBy: null },
      promptUsages: [{ prompt: 'hello' }],
      tokenUsages: [{ inputTokens: 11, outputTokens: 7 }],
    },
  ])
})

test('a response whose daemon is killed in its middle ends with the tokens so far', async () => {
  await runDaemon()
  provider.gate()
  const stream = await begin('hello')
  // What the client has seen is noted soon, and not at once.
  await expect.poll(() => journalOf(daemonData)).toContain('"tokenUsage"')
  daemon.kill('SIGKILL')
  await expect(stream.text).rejects.toThrow()
  await runDaemon()
  const [detail, ...others] = await ended(1)
  expect(others).toEqual([])
  expect(detail).toMatchObject({
    interception: { errorType: 'unknown', errorMessage: 'the bridge ended inside the response', endedBy: null },
    promptUsages: [{ prompt: 'hello' }],
    tokenUsages: [{ inputTokens: 11, metadata: { estimated: true } }],
  })
  expect(detail?.tokenUsages).toHaveLength(1)
})

test('SIGTERM of the control plane and its daemon at once loses no response under way', async () => {
  await runDaemon()
  const gate = provider.gate()
  const streams = await Promise.all(Array.from({ length: 8 }, (_, index) => begin(`prompt ${index}`)))
  server.kill('SIGTERM')
  daemon.kill('SIGTERM')
  await server.exited
  gate.open()
  expect(await Promise.all(streams.map(stream => stream.text))).toEqual(streams.map(() => text))
  // What could not be handed over is kept.
  expect([await daemon.exited, await server.exited].map(({ code }) => code)).toEqual([0, 0])
  await restart()
  await runDaemon()
  const details = await ended(8)
  expect(details.flatMap(({ promptUsages }) => promptUsages.map(({ prompt }) => prompt)).sort()).toEqual(
    Array.from({ length: 8 }, (_, index) => `prompt ${index}`),
  )
  for (const { interception, tokenUsages } of details) {
    expect(interception).toMatchObject({ errorType: null, endedBy: null })
    expect(tokenUsages).toMatchObject([{ inputTokens: 11, outputTokens: 7 }])
  }
})

test('a daemon without a disk that cannot hand over its records ends with 1 and says how many were lost', async () => {
  await runDaemon('--outbox', 'none', '--grace-ms', '0')
  await daemon.logged('the outbox is in memory: a process that is killed loses the records that wait there')
  const gate = provider.gate()
  const stream = await begin('hello')
  server.kill('SIGKILL')
  await server.exited
  gate.open()
  expect(await stream.text).toBe(text)
  daemon.kill('SIGTERM')
  expect(await daemon.exited).toEqual({ code: 1, signal: null })
  expect(await daemon.logged(/^records were lost: /)).toMatchObject({ left: 3 })
})

/** Returns the content of all files of a daemon's outbox. */
async function journalOf(data: string): Promise<string> {
  const files = await readdir(join(data, 'outbox'), { recursive: true, withFileTypes: true })
  const texts = files
    .filter(file => file.isFile())
    .map(file => readFile(join(file.parentPath, file.name), 'latin1').catch(() => ''))
  return (await Promise.all(texts)).join('\n')
}
