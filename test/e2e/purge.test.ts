/** A purge with remote daemons whose control plane was away: as processes, with the files that they leave. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { withAdmin } from '../../server/commands/common/admin-client.js'
import type { PurgeProgress } from '../../shared/contract/admin/users.js'
import { makeDatabase } from '../fixtures/stores.js'
import { runWordsJson } from '../server/commands/command-line.js'
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

const adminToken = 'admin-token-of-the-purge'
let provider: StandIn
beforeAll(async () => {
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  provider = await startProvider()
})
afterAll(async () => {
  await provider.close()
  vi.unstubAllEnvs()
})
afterEach(cleanUp)

test('a purge leaves no byte of the user with a daemon that is connected, and names one that is away, which erases at its start', async () => {
  const database = await makeDatabase()
  onTestFinished(database.drop)
  const env = {
    BRIDGE_ADMIN_TOKEN: adminToken,
    BRIDGE_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    DATABASE_URL: database.url,
  }
  let server: ServeProcess = await startServe(await temporaryDirectory(), { env })
  const admin = <T>(work: Parameters<typeof withAdmin<T>>[1]) =>
    withAdmin({ data: server.dataDir, port: server.port }, work)
  const { keys, userId, daemonKeys } = await admin(async ({ users, apiKeys, providers, daemonKeys }) => {
    const { id: userId } = await users.create.mutate({ username: 'alice' })
    await users.create.mutate({ username: 'bob' })
    await providers.upsert.mutate({ name: 'stand-in', type: 'anthropic', baseUrl: provider.url, keys: ['sk-test'] })
    const keys = { alice: '', bob: '' }
    for (const user of ['alice', 'bob'] as const) keys[user] = (await apiKeys.create.mutate({ user })).key
    const made = [await daemonKeys.create.mutate({ name: 'near' }), await daemonKeys.create.mutate({ name: 'far' })]
    return { keys, userId, daemonKeys: made.map(({ key }) => key) }
  })
  const folders = [await temporaryDirectory(), await temporaryDirectory()]
  const start = (index: number) =>
    startDaemon(server.url, daemonKeys[index] ?? '', { env: { BRIDGE_DATA: folders[index] ?? '' } })
  const [near, far] = await Promise.all([start(0), start(1)])
  const words = (user: string) => `SECRET-WORDS-OF-${user}`
  const stream = ({ url }: RunningProcess, user: 'alice' | 'bob') =>
    new Anthropic({
      baseURL: `${url}/bridge/stand-in`,
      authToken: keys[user],
      apiKey: null,
      maxRetries: 0,
    }).messages.stream({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content: words(user) }] })

  // The control plane dies inside of the responses, and the daemons keep their records.
  const gate = provider.gate()
  const streams = [near, far].flatMap(daemon => (['alice', 'bob'] as const).map(user => stream(daemon, user)))
  await Promise.all(streams.map(each => each.emitted('text')))
  server.kill('SIGKILL')
  await server.exited
  gate.open()
  for (const each of streams) expect(await each.finalText()).toBe(tokens.join(''))
  far.kill('SIGKILL')
  await far.exited
  server = await startServe(server.dataDir, { args: ['--port', server.port], env })
  await near.logged('connected to the control plane')
  for (const folder of folders) expect(await filesWith(folder, words('alice'))).not.toEqual([])

  const purge = () => runWordsJson<PurgeProgress>(['purge', '--user', userId, '--yes', ...server.flags])
  expect((await purge()).daemons).toMatchObject({
    reached: 2, // the bridge of the server itself
    unreached: [{ name: 'far', lastSeenAt: expect.any(String) }],
  })
  const [nearFolder = '', farFolder = ''] = folders
  expect(await filesWith(nearFolder, words('alice'))).toEqual([])
  expect(await filesWith(farFolder, words('alice'))).not.toEqual([])

  const back = await start(1)
  await back.logged('the records of erased users were removed from the outbox')
  await expect.poll(async () => (await purge()).daemons).toMatchObject({ reached: 3, unreached: [] })
  expect(await filesWith(farFolder, words('alice'))).toEqual([])
  const prompts = () =>
    admin(async ({ interceptions }) => {
      const { interceptions: page } = await interceptions.list.query({})
      const details = await Promise.all(page.map(({ id }) => interceptions.get.query({ id })))
      return details.flatMap(({ promptUsages }) => promptUsages.map(({ prompt }) => prompt))
    })
  await expect.poll(prompts).toEqual([words('bob'), words('bob')])
})

/** The files below a folder in which a text stands, as it is or in base64. */
async function filesWith(folder: string, text: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const content = (await readFile(join(entry.parentPath, entry.name))).toString('latin1')
    const decoded = content.replace(/[A-Za-z0-9+/]{40,}=*/g, part => Buffer.from(part, 'base64').toString('latin1'))
    if (content.includes(text) || decoded.includes(text)) found.push(entry.name)
  }
  return found
}
