/** `aibridge keys` against a server that listens. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { keyIdOf } from '../../../server/commands/common/key-id.js'
import { addKeysCommands } from '../../../server/commands/keys.js'
import type { ApiKey, CreatedApiKey } from '../../../shared/contract/admin/api-keys.js'
import { daemon, oneStore } from '../services/running-server.js'
import { commandLine } from './command-line.js'

const store = oneStore()
const operator = () => commandLine(store(), addKeysCommands)

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

describe('revoke', () => {
  test.each(['the id', 'the whole key'])(
    'daemon-keys revoke takes %s of a key, which has expired from then on',
    async form => {
      const { admin, json, print } = await operator()
      await admin.users.create.mutate({ username: 'ada' }).catch(() => {}) // there from the row before
      const { id, key } = await json<CreatedApiKey>('keys', 'create', '--user', 'ada')
      expect(await print('keys', 'revoke', form === 'the id' ? id : key)).toBe(`revoked key ${id} of user ada\n`)
      const revoked = (await json<ApiKey[]>('keys', 'list')).find(row => row.id === id)
      expect(Date.parse(revoked?.expiresAt ?? '')).toBeLessThanOrEqual(Date.now())
    },
  )

  test('daemon-keys revoke sends no part of the secret to the server', async () => {
    const { admin, json, print } = await operator()
    await admin.users.create.mutate({ username: 'grace' })
    const { id, key } = await json<CreatedApiKey>('keys', 'create', '--user', 'grace')
    await print('keys', 'revoke', key)
    const { entries } = await admin.audit.list.query({ action: 'apiKeys.expire', target: id })
    expect(entries).toHaveLength(1)
    expect(JSON.stringify(entries)).not.toContain(key.slice(11))
  })

  const marked = 'MARKED'.repeat(4)
  test.each(['', 'abcdefghi', 'abcdefghij-', `abcdefghij-${marked.slice(0, 21)}`, `abcdefghij-${marked}`])(
    'daemon-keys revoke rejects %j without repeating it',
    async word => {
      const { print } = await operator()
      const rejection: unknown = await print('keys', 'revoke', word).catch((error: unknown) => error)
      expect(rejection).toMatchObject({ code: 'BAD_REQUEST', reason: 'config_invalid' })
      expect(String(rejection)).toMatch(/must be the id of a key.* \(got a text of length \d+\)$/)
      expect(String(rejection)).not.toContain('MARKED')
    },
  )

  test('daemon-keys revoke of an unknown id says so', async () => {
    const { print } = await operator()
    await expect(print('keys', 'revoke', 'unknown000')).rejects.toMatchObject({ reason: 'unknown_row' })
  })
})

test('a key has a name, and the list shows it with its last use', async () => {
  const { admin, connect, json, print } = await operator()
  await admin.users.create.mutate({ username: 'edith' })
  const create = ['keys', 'create', '--user', 'edith', '--name', 'build server']
  const { id, key, name } = await json<CreatedApiKey>(...create)
  expect(name).toBe('build server')
  expect(await print(...create)).toMatch(/^name +build server$/m)
  const line = async () => (await print('keys', 'list', '--user', 'edith')).split('\n').find(row => row.startsWith(id))
  expect(await line()).toMatch(/ build server +edith +\S+Z +never +valid +-$/)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  await connect(daemon).authorizer.isAuthorized.query({ key })
  vi.advanceTimersByTime(1_000)
  vi.useRealTimers()
  await expect.poll(line).toMatch(/ build server +edith +\S+Z +never +valid +\S+Z$/)
})

test('the id of a key is read from the id and from the whole key, with white space around them', () => {
  for (const word of ['abcdefghij', ` abcdefghij-${'S'.repeat(22)}\n`]) expect(keyIdOf(word)).toBe('abcdefghij')
})
