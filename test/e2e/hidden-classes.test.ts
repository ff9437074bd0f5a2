/**
 * The hidden classes that V8 makes while `serve` handles requests (findings/hidden-classes.sh): one for each object
 * costs memory that only full collections free, and makes every access to the object slow.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { withAdmin } from '../../server/commands/common/admin-client.js'
import { cleanUp, dataDirectory, nodeFlags, startServe, temporaryDirectory } from './process.js'
import { startProvider } from './provider.js'

vi.setConfig({ testTimeout: 60_000 })
afterEach(cleanUp)
afterEach(() => void vi.unstubAllEnvs())

/** Node's own, of each AbortSignal; and the mark of V8 for frozen objects, which the query builder makes. */
const ofOthers = /^(?:kAborted|kReason|kComposite|symbol\()/

test('requests and their records make no hidden classes', async () => {
  const adminToken = 'admin-token-of-the-servers'
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  const logs = await temporaryDirectory()
  const flags = [...nodeFlags, '--log-maps', '--logfile-per-isolate', `--logfile=${join(logs, 'v8.log')}`]
  const server = await startServe(await dataDirectory(), { env: { BRIDGE_ADMIN_TOKEN: adminToken }, flags })
  const provider = await startProvider()
  onTestFinished(() => provider.close())
  const { key } = await withAdmin(
    { data: server.dataDir, port: server.port },
    async ({ users, apiKeys, providers }) => {
      await users.create.mutate({ username: 'alice' })
      await providers.upsert.mutate({ name: 'stand-in', type: 'anthropic', baseUrl: provider.url, keys: ['sk-test'] })
      return apiKeys.create.mutate({ user: 'alice' })
    },
  )
  const ask = async (stream: boolean): Promise<void> => {
    const response = await fetch(`${server.url}/bridge/stand-in/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': key, 'content-type': 'application/json', 'user-agent': 'claude-cli/2.1 (external)' },
      body: JSON.stringify({ model: 'm', max_tokens: 9, stream, messages: [{ role: 'user', content: 'hi' }] }),
    })
    expect([response.status, (await response.text()).length]).toEqual([200, expect.any(Number)])
  }
  const askAll = async (): Promise<void> => {
    for (let request = 0; request < requests; request++) await ask(request % 2 === 0)
  }
  await askAll()
  const log = mainLog(logs)
  const before = statSync(log).size
  await askAll()
  // The last records are stored behind the last response.
  await pause(200)
  const counts = new Map<string, number>()
  for (const line of readFileSync(log).subarray(before).toString().split('\n')) {
    const name = /^map,Transition,.*,prototype,(?:symbol\(")?([^,"]*)/.exec(line)?.[1]
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const ofEachRequest = [...counts].filter(([, count]) => count > requests / 4).map(([name]) => name)
  expect(ofEachRequest.filter(name => !ofOthers.test(name))).toEqual([])
})

/** a warm-up of as many comes before */
const requests = 40

/** The log of the main thread is the first: the database's thread begins later. */
function mainLog(folder: string): string {
  const logs = readdirSync(folder).map(name => join(folder, name))
  const [first] = logs.sort((one, other) => statSync(one).birthtimeMs - statSync(other).birthtimeMs)
  if (first === undefined) throw new Error('V8 wrote no log')
  return first
}
