/** An embedded store moves to PostgreSQL, by the commands that the README names. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { withAdmin } from '../../server/commands/common/admin-client.js'
import { makeDatabase } from '../fixtures/stores.js'
import { runWords } from '../server/commands/command-line.js'
import { cleanUp, dataDirectory, run, type ServeProcess, startServe, temporaryDirectory } from './process.js'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

afterEach(async () => {
  vi.unstubAllEnvs()
  await cleanUp()
})

const expiresAt = new Date('2999-12-31T00:00:00.000Z')

async function ask({ url }: ServeProcess, key: string): Promise<number> {
  const response = await fetch(`${url}/bridge/demo/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': key },
    body: JSON.stringify({ model: 'demo', max_tokens: 1, messages: [{ role: 'user', content: 'hello' }] }),
  })
  await response.text()
  return response.status
}

test('import moves an embedded store to PostgreSQL once; keys, secrets and records are there', async () => {
  const from = await dataDirectory()
  const database = await makeDatabase({ migrated: false })
  onTestFinished(database.drop)
  const embedded = await startServe(from)
  const key = await withAdmin({ data: from, port: embedded.port }, async ({ users, apiKeys, providers }) => {
    await users.create.mutate({ username: 'ada' })
    await providers.upsert.mutate({ name: 'work', keys: ['sk-of-the-work-0123456789'] })
    return (await apiKeys.create.mutate({ user: 'ada', expiresAt })).key
  })
  expect(await ask(embedded, key)).toBe(200)
  const environment = {
    DATABASE_URL: database.url,
    BRIDGE_ADMIN_TOKEN: 'admin-token-of-the-import',
    BRIDGE_ENCRYPTION_KEY: (await readFile(join(from, 'encryption-key'), 'utf8')).trim(),
  }
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  const inUse = await runWords(['import', '--from', from])
  expect([inUse.code, JSON.parse(inUse.stderr).reason]).toEqual([1, 'data_in_use'])
  embedded.kill('SIGTERM')
  expect(await embedded.exited).toEqual({ code: 0, signal: null })

  const imported = await run(['import', '--from', from], { env: environment })
  expect(imported).toMatchObject({ code: 0, stderr: '' })
  for (const rows of ['users +1', 'api_keys +1', 'interceptions +1', 'providers +2', 'provider_keys +1']) {
    expect(imported.stdout).toMatch(new RegExp(`^${rows}$`, 'm'))
  }
  expect(imported.stdout).toContain(`    BRIDGE_ENCRYPTION_KEY="$(cat ${from}/encryption-key)" node `)
  const again = await runWords(['import', '--from', from])
  expect([again.code, JSON.parse(again.stderr).reason]).toEqual([1, 'import_refused'])
  expect(await runWords(['migrate'])).toMatchObject({ code: 0, stderr: '' })

  const server = await startServe(await temporaryDirectory(), { env: environment })
  expect(await ask(server, key)).toBe(200)
  await withAdmin({ data: server.dataDir, port: server.port }, async ({ interceptions, apiKeys, providers }) => {
    const ends = async () => (await interceptions.list.query({})).interceptions.map(({ endedAt }) => endedAt)
    await expect.poll(ends).toEqual([expect.any(Date), expect.any(Date)])
    expect(await apiKeys.list.query({})).toMatchObject([{ id: key.slice(0, 10), username: 'ada', expiresAt }])
    const names = (await providers.list.query()).map(({ name, keys }) => [name, keys.length])
    expect(names).toEqual([
      ['demo', 0],
      ['work', 1],
    ])
  })
})
