/** `aibridge users` against a server that listens. */
import { afterEach, expect, test, vi } from 'vitest'
import { addUsersCommands } from '../../../server/commands/users.js'
import type { User } from '../../../shared/contract/admin/users.js'
import { oneStore } from '../services/running-server.js'
import { commandLine } from './command-line.js'

const store = oneStore()
const operator = () => commandLine(store(), addUsersCommands)

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

test('a user is created, suspended, activated and listed', async () => {
  const { print } = await operator()
  expect(await print('users', 'create', 'ada')).toMatch(/^created user ada, id [0-9a-f-]{36}\n$/)
  expect(await print('users', 'suspend', 'ada')).toBe('suspended user ada\n')
  expect(await print('users', 'list')).toMatch(/^NAME .*\nada +suspended +\S+Z +\S+\n$/)
  expect(await print('users', 'activate', 'ada')).toBe('activated user ada\n')
})

test('a user is named by the short id of the list as by the whole id', async () => {
  const { json, print } = await operator()
  const { id } = await json<User>('users', 'create', 'edith')
  const [, listed = ''] = /^edith .* ([0-9a-f]{12})$/m.exec(await print('users', 'list')) ?? []
  expect(id.endsWith(listed)).toBe(true)
  for (const user of [listed, id]) expect(await print('users', 'suspend', user)).toBe('suspended user edith\n')
  expect(await json<User[]>('users', 'list')).toContainEqual(expect.objectContaining({ id, username: 'edith' }))
})

test('deleting a user without --yes asks, and does nothing where stdin is no terminal', async () => {
  const { admin, json, print } = await operator()
  const { id } = await json<User>('users', 'create', 'grace')
  await expect(print('users', 'delete', 'grace')).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    reason: 'config_invalid',
    message: expect.stringMatching(/^--yes: is missing/),
  })
  expect((await admin.users.list.query()).find(user => user.id === id)?.deletedAt).toBeNull()
  expect(await print('users', 'delete', 'grace', '--yes')).toBe('deleted user grace\n')
  expect((await admin.users.list.query()).find(user => user.id === id)?.deletedAt).toBeInstanceOf(Date)
})
