import { rm } from 'node:fs/promises'
import { expect, onTestFinished, test } from 'vitest'
import { openStore } from '../../../../server/store/open/open-store.js'
import { makeDataDir } from '../../../fixtures/data-dir.js'
import { makeDatabase } from '../../../fixtures/stores.js'

const user = { id: '11111111-1111-4111-8111-111111111111', username: 'alice' }

async function dataDirectory(): Promise<{ dataDir: string }> {
  const dataDir = await makeDataDir()
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  return { dataDir }
}

async function database(): Promise<{ databaseUrl: string }> {
  const { url, drop } = await makeDatabase({ migrated: false })
  onTestFinished(drop)
  return { databaseUrl: url }
}

test.each([
  ['a data directory', dataDirectory],
  ['the URL of a database without a schema', database],
])('openStore opens %s, and finds its rows again at the next start', async (_, place) => {
  const options = await place()
  const first = await openStore(options)
  await first.createUser(user)
  await first.close()
  const second = await openStore(options)
  expect(await second.findUser('alice')).toMatchObject(user)
  await second.close()
})

test('openStore takes an undefined databaseUrl for an absent one', async () => {
  const store = await openStore({ ...(await dataDirectory()), databaseUrl: undefined })
  await store.ping()
  await store.close()
})

test.each(['nonsense', 'mysql://user:a-password@localhost/db', 'postgres://user:a-password@local host/db'])(
  'openStore rejects the databaseUrl %s without showing it',
  async databaseUrl => {
    const error = await openStore({ databaseUrl }).catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'BAD_REQUEST', reason: 'config_invalid' })
    expect(String(error)).not.toContain('a-password')
  },
)
