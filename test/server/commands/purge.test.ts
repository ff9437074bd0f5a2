/** `aibridge purge` against a server that listens. */
import { randomUUID } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { AdminClient } from '../../../server/commands/common/admin-client.js'
import { confirmByTyping } from '../../../server/commands/common/confirm.js'
import { addPurgeCommand, purge } from '../../../server/commands/purge.js'
import type { PurgeProgress } from '../../../shared/contract/admin/users.js'
import { oneStore } from '../services/running-server.js'
import { interception } from '../store/records/records.js'
import { commandLine, runWords } from './command-line.js'

const store = oneStore()
const operator = () => commandLine(store(), addPurgeCommand)

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

test('erases a user by name, and says what went', async () => {
  const { admin, json } = await operator()
  const { id } = await admin.users.create.mutate({ username: 'ada' })
  await admin.apiKeys.create.mutate({ user: 'ada' })
  await store().record([interception({ initiatorId: id })])
  expect(await json<PurgeProgress>('purge', '--user', 'ada', '--yes')).toEqual({
    userId: id,
    done: true,
    interceptions: 1,
    records: 0,
    apiKeys: 1,
    links: 0,
    conversations: 0,
    chats: 0,
    daemons: { reached: 0, records: 0, unreached: [] },
  })
})

test('names the daemons that could not be reached, and says what to do', async () => {
  const { admin, print } = await operator()
  const { id } = await admin.users.create.mutate({ username: 'lise' })
  const secretHash = new Uint8Array(32)
  await store().createDaemonKey({ id: 'a-key', name: 'par\u0007is', delegate: false, expiresAt: null, secretHash })
  const at = new Date(Date.now() - 60_000)
  for (const daemonKeyId of ['a-key', null]) {
    const outbox = { outboxId: randomUUID(), daemonKeyId, isDurable: true }
    const watch = randomUUID()
    await store().recordOutboxWatched(outbox, { watch, at })
    await store().recordOutboxLeft(outbox.outboxId, { watch, at })
  }
  const seen = at.toISOString()
  expect((await print('purge', '--user', 'lise', '--yes')).split('\n').slice(1)).toEqual([
    'daemons that have erased the user: 0, with 0 records that had not been handed over',
    'daemons that may still hold records of the user:',
    'DAEMON KEY                    NAME         LAST SEEN',
    `a-key                         par\\u0007is  ${seen}`,
    `none: the bridge of a server  -            ${seen}`,
    `They erase as soon as they are back, if they are not of an older version. Run this again then: aibridge purge --user ${id}`,
    '',
  ])
})

test('calls until nothing is left, by the id after the first time, and says how far it is', async () => {
  const counts = { userId: 'the id', records: 0, apiKeys: 0, links: 0 }
  const answers = [
    { ...counts, done: false, interceptions: 500 },
    { ...counts, done: true, interceptions: 501 },
  ]
  const mutate = vi.fn(async (_input: { user: string }) => answers.shift())
  const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const client = { users: { purge: { mutate } } } as unknown as AdminClient // all that is called of it
  expect(await purge(client, 'grace')).toMatchObject({ done: true, interceptions: 501 })
  expect(mutate.mock.calls).toEqual([[{ user: 'grace' }], [{ user: 'the id' }]])
  expect(stderr.mock.calls).toEqual([['user the id: 500 interceptions are erased, more are left\n']])
})

test('a question without a terminal on stdin is rejected', async () => {
  const rejected = await runWords(['purge', '--user', 'edith', '--port', '1'])
  expect(rejected.code).toBe(1)
  expect(JSON.parse(rejected.stderr)).toEqual({
    code: 'BAD_REQUEST',
    reason: 'config_invalid',
    message: '--yes: is missing; without a terminal on stdin the command cannot ask',
    mayHaveRun: null,
  })
})

test('a purge of an unknown user is rejected', async () => {
  const { print } = await operator()
  const unknown = { code: 'NOT_FOUND', reason: 'unknown_row' }
  await expect(print('purge', '--user', 'nobody', '--yes')).rejects.toMatchObject(unknown)
  await expect(print('purge', '--yes')).rejects.toThrow("required option '--user <user>' not specified")
})

describe('on a terminal', () => {
  function terminal() {
    const input = Object.assign(new PassThrough(), { isTTY: true })
    const output = new PassThrough()
    return { input, output, shown: () => String(output.read() ?? '') }
  }

  test('the name has to be typed', async () => {
    const tty = terminal()
    const asked = confirmByTyping('ada', 'Sure?', tty)
    expect(tty.shown()).toBe('Sure?\nType "ada" to go on: ')
    tty.input.write('ada\n')
    await asked
  })

  test.each([
    ['something else', 'yes\n'],
    ['nothing', '\n'],
    ['the end of the input', ''],
  ])('%s does nothing', async (_what, typed) => {
    const tty = terminal()
    const asked = confirmByTyping('ada', 'Sure?', tty)
    tty.input.end(typed)
    await expect(asked).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('nothing was done'),
    })
    // The message begins on a line of its own: a typed line ends with the terminal's echo.
    expect(tty.shown().endsWith('\n')).toBe(typed === '')
  })
})
