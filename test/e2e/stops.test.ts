/**
 * Processes that stand still (SIGSTOP) and go on (SIGCONT), while their connections stay open: a daemon's, then the
 * control plane's. CI stops each for half a second; `npm run soak -- stops` for a minute, which is longer than the
 * heartbeat's patience.
 */
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, expect, test, vi } from 'vitest'
import { type AdminClient, withAdmin } from '../../server/commands/common/admin-client.js'
import { cleanUp, dataDirectory, startDaemon, startServe } from './process.js'
import { startProvider, tokens } from './provider.js'

const isSoak = process.env.SOAK !== undefined
const stoppedMs = isSoak ? 60_000 : 500

vi.setConfig({ testTimeout: 4 * stoppedMs + 120_000 })
afterEach(cleanUp)
afterEach(() => void vi.unstubAllEnvs())

const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms))

test('a daemon and a control plane that stand still and go on lose no record and fail no later request', async () => {
  const adminToken = 'admin-token-of-the-servers'
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  const provider = await startProvider()
  const server = await startServe(await dataDirectory(), { env: { BRIDGE_ADMIN_TOKEN: adminToken } })
  const admin = <T>(work: (admin: AdminClient) => Promise<T>): Promise<T> =>
    withAdmin({ data: server.dataDir, port: server.port }, work)
  const { key, daemonKey } = await admin(async ({ users, apiKeys, providers, daemonKeys }) => {
    await users.create.mutate({ username: 'alice' })
    await providers.upsert.mutate({ name: 'stand-in', type: 'anthropic', baseUrl: provider.url, keys: ['sk-test'] })
    const { key: usersKey } = await apiKeys.create.mutate({ user: 'alice' })
    return { key: usersKey, daemonKey: (await daemonKeys.create.mutate({})).key }
  })
  const daemon = await startDaemon(server.url, daemonKey)
  const client = new Anthropic({
    baseURL: `${daemon.url}/bridge/stand-in`,
    authToken: key,
    apiKey: null,
    maxRetries: 0,
  })
  let answered = 0
  const ask = async (): Promise<void> => {
    const text = await client.messages
      .stream({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] })
      .finalText()
    expect(text).toBe(tokens.join(''))
    answered++
  }
  await ask()
  for (const [name, stopped] of [
    ['the daemon', daemon],
    ['the control plane', server],
  ] as const) {
    stopped.kill('SIGSTOP')
    const asked = ask().then(
      () => undefined,
      error => error,
    )
    // The other process serves its own callers meanwhile.
    if (stopped === daemon) await admin(({ users }) => users.list.query())
    else expect((await fetch(`${daemon.url}/healthz`)).status).toBe(200)
    await pause(stoppedMs)
    stopped.kill('SIGCONT')
    const error = await asked
    // A daemon waits for the control plane as long as its calls have time.
    if (!isSoak) expect(error).toBeUndefined()
    await expect.poll(() => ask().then(() => name), { timeout: 30_000, interval: 100 }).toBe(name)
    await ask()
  }
  daemon.kill('SIGTERM')
  expect((await daemon.exited).code).toBe(0)
  const { interceptions } = await admin(client => client.interceptions.list.query({ limit: 200 }))
  const ended = interceptions.filter(({ endedAt, errorType }) => endedAt !== null && errorType === null)
  expect(ended).toHaveLength(answered)
  server.kill('SIGTERM')
  expect((await server.exited).code).toBe(0)
  await provider.close()
})
