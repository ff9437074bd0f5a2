/** `aibridge daemon-keys` against a server that listens. */
import { Command } from 'commander'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { addDaemonKeysCommands } from '../../../server/commands/daemon-keys.js'
import type { CreatedDaemonKey, DaemonKey } from '../../../shared/contract/admin/daemon-keys.js'
import type { Json } from '../../e2e/process.js'
import { admin, adminToken, oneStore, startServer } from '../services/running-server.js'
import { runWords } from './command-line.js'

const store = oneStore()

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

/** Runs the words as a command of this process and answers what it printed. */
async function command(...words: string[]): Promise<string> {
  const printed: string[] = []
  vi.spyOn(process.stdout, 'write').mockImplementation(chunk => {
    printed.push(String(chunk))
    return true
  })
  try {
    const program = new Command('aibridge').exitOverride().configureOutput({ writeErr: () => {} })
    addDaemonKeysCommands(program)
    await program.parseAsync(['daemon-keys', ...words], { from: 'user' })
  } finally {
    vi.restoreAllMocks()
  }
  return printed.join('')
}

async function operator() {
  vi.stubEnv('BRIDGE_ADMIN_TOKEN', adminToken)
  const running = await startServer(store())
  const { port } = new URL((await running.server.listen({ host: '127.0.0.1', port: 0 })).url)
  const at = ['--port', port]
  return {
    daemonKeys: running.connect(admin).admin.daemonKeys,
    print: (...words: string[]) => command(...words, ...at),
    json: async <T>(...words: string[]): Promise<Json<T>> => JSON.parse(await command(...words, ...at, '--json')),
  }
}

test('the command line has them', async () => {
  const { code, stdout } = await runWords(['daemon-keys', '--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^Usage: aibridge daemon-keys /)
  expect(stdout).toMatch(/\bcreate\b.*\blist\b.*\brevoke\b/s)
})

describe('create', () => {
  test('daemon-keys create gives the key once; what was not asked for is null and false', async () => {
    const { json, daemonKeys } = await operator()
    const { key, ...created } = await json<CreatedDaemonKey>('create')
    expect(key).toMatch(/^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/)
    expect(created).toMatchObject({ id: key.slice(0, 10), name: null, delegate: false, expiresAt: null })
    expect((await daemonKeys.list.query()).map(({ id }) => id)).toContain(created.id)
  })

  test('daemon-keys create takes a name, the capability and an expiry', async () => {
    const { json } = await operator()
    const words = ['create', '--name', 'rack 1', '--delegate', '--expires', '2099-01-31']
    expect(await json<CreatedDaemonKey>(...words)).toMatchObject({
      name: 'rack 1',
      delegate: true,
      expiresAt: '2099-01-31T00:00:00.000Z',
    })
  })

  test('daemon-keys create prints nothing but the key where that was asked for', async () => {
    const { print } = await operator()
    expect(await print('create', '--key-only')).toMatch(/^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}\n$/)
  })

  test('daemon-keys create shows people the key and what it may', async () => {
    const { print } = await operator()
    const shown = await print('create', '--name', 'rack 2', '--delegate')
    expect(shown).toMatch(/^key +[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/m)
    expect(shown).toMatch(/^name +rack 2$/m)
    expect(shown).toMatch(/^delegate +true$/m)
    expect(shown).toMatch(/^expires +never$/m)
  })

  test('daemon-keys create rejects a time that is none, and one that has passed', async () => {
    const { print } = await operator()
    await expect(print('create', '--expires', 'soon')).rejects.toThrow("'soon' is invalid")
    await expect(print('create', '--expires', '2020-01-31')).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  })
})

describe('list', () => {
  test('daemon-keys list is as the contract has it, newest first and without secrets', async () => {
    const { json, print } = await operator()
    const first = await json<CreatedDaemonKey>('create', '--name', 'older')
    await vi.waitUntil(() => Date.now() > Date.parse(first.createdAt))
    const second = await json<CreatedDaemonKey>('create', '--name', 'newer')
    const list = await json<DaemonKey[]>('list')
    expect(list.slice(0, 2).map(({ id }) => id)).toEqual([second.id, first.id])
    expect(list[0]).toEqual({
      id: second.id,
      name: 'newer',
      delegate: false,
      createdAt: second.createdAt,
      expiresAt: null,
      revokedAt: null,
      lastSeenAt: null,
      buildVersion: null,
    })
    const shown = await print('list')
    for (const { key } of [first, second]) expect(shown).not.toContain(key.slice(11))
  })

  test('daemon-keys list says which keys are valid, revoked or expired', async () => {
    const { json, print } = await operator()
    const valid = await json<CreatedDaemonKey>('create', '--expires', '60d')
    const expired = await json<CreatedDaemonKey>('create', '--expires', '30d')
    const revoked = await json<CreatedDaemonKey>('create', '--expires', '30d')
    await json('revoke', revoked.id)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.parse(expired.expiresAt ?? '') })
    const shown = (await print('list')).split('\n')
    const state = (id: string) => /\b(valid|revoked|expired)\b/.exec(shown.find(line => line.startsWith(id)) ?? '')?.[1]
    expect([valid, expired, revoked].map(({ id }) => state(id))).toEqual(['valid', 'expired', 'revoked'])
  })
})

describe('revoke', () => {
  test('daemon-keys revoke returns the row, and the same row again', async () => {
    const { json, print } = await operator()
    const { id } = await json<CreatedDaemonKey>('create')
    const revoked = await json<DaemonKey>('revoke', id)
    expect(revoked).toMatchObject({ id, revokedAt: expect.stringMatching(/^\d{4}-.*Z$/) })
    expect(await json<DaemonKey>('revoke', id)).toEqual(revoked)
    expect(await print('revoke', id)).toBe(`revoked daemon key ${id}\n`)
  })

  test('daemon-keys revoke takes a whole key and sends its id', async () => {
    const { json, daemonKeys } = await operator()
    const { key, id } = await json<CreatedDaemonKey>('create')
    expect(await json<DaemonKey>('revoke', key)).toMatchObject({ id, revokedAt: expect.any(String) })
    expect((await daemonKeys.list.query()).find(row => row.id === id)?.revokedAt).toBeInstanceOf(Date)
  })

  test('daemon-keys revoke of an unknown id says so', async () => {
    const { print } = await operator()
    const unknown = { code: 'NOT_FOUND', reason: 'unknown_row' }
    await expect(print('revoke', 'unknown000')).rejects.toMatchObject(unknown)
  })
})
