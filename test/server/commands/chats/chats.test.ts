/** `aibridge chats` against a server that listens, whose turns the tests run themselves; real turns are in test/e2e. */
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { addChatsCommands } from '../../../../server/commands/chats.js'
import { userConfig } from '../../../../server/config/config.js'
import { createRunChanges, type Run, type RunChanges } from '../../../../server/services/chats/run-changes.js'
import type { Chat, ChatEvent, ChatList, ChatMessage } from '../../../../shared/contract/chats.js'
import { makeEmptyDir } from '../../../fixtures/data-dir.js'
import { deferred, oneStore } from '../../services/running-server.js'
import { commandLine } from '../command-line.js'

const store = oneStore()
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

/** Commands of a user whose key is in the environment. */
async function user() {
  const line = await commandLine(store(), addChatsCommands)
  const { id } = await line.admin.users.create.mutate({ username: `user-${randomUUID().slice(0, 8)}` })
  const { key } = await line.admin.apiKeys.create.mutate({ user: id })
  vi.stubEnv('AIBRIDGE_KEY', key)
  return { ...line, key }
}

type Respond = (run: Run, changes: RunChanges, turn: number) => Promise<unknown>

const yes = { role: 'assistant', parts: [{ type: 'text', text: 'Yes.' }] } as const
const finish: Respond = (run, changes) => changes.finishTurn(run, [yes])

/** Runs every turn of the store's chats until the end of the test. */
function runTurns(respond: Respond): void {
  const runner = randomUUID()
  const changes = createRunChanges(store())
  let turn = 0
  const acquire = async () => {
    for (const row of await store().acquireChats({ runner, limit: 10, leaseMs: 60_000 })) {
      const { id: chatId, fence, historyVersion } = row
      await respond({ chatId, runner, fence, historyVersion }, changes, turn++)
    }
  }
  let last = Promise.resolve()
  const stop = store().onChatChange(() => {
    last = last.then(acquire)
  })
  onTestFinished(async () => {
    stop()
    await last
  })
}

/** Ends an interrupted turn as its runner would. */
async function endInterrupt(chatId: string): Promise<void> {
  const runner = randomUUID()
  const row = await store().takeChat({ id: chatId, runner, leaseMs: 60_000 })
  if (!row) throw new Error('the chat is at rest')
  const { fence, historyVersion } = row
  const outcome = await createRunChanges(store()).finishInterrupt({ chatId, runner, fence, historyVersion }, [])
  expect(outcome.state).toBe('done')
}

const eventsOf = (lines: string) =>
  lines
    .trim()
    .split('\n')
    .map((line): ChatEvent & { id: string } => JSON.parse(line))
const words = (stdout: string) => stdout.trim().split('\n')

describe('aibridge chats', () => {
  test('new prints the id of the chat and its response, and send that of another turn only', async () => {
    const { print } = await user()
    runTurns(finish)
    const [id = '', ...response] = words(await print('chats', 'new', 'Hello'))
    expect(id).toMatch(/^[0-9a-f-]{36}$/)
    expect(response).toEqual(['Yes.'])
    expect(await print('chats', 'send', id, 'And now?')).toBe('Yes.\n')
    expect(await print('chats', 'watch', id)).toBe('> Hello\nYes.\n> And now?\nYes.\n')
    expect(await print('chats', 'show', id)).toMatch(
      /^id +[0-9a-f-]{36}\n[\s\S]*status +waiting\n[\s\S]*\n\n> Hello\n\nYes\.\n\n> And now\?\n\nYes\.\n$/,
    )
  })

  test('new without a message begins no turn, and its options are those of the chat', async () => {
    const { json, admin, print } = await user()
    await admin.providers.upsert.mutate({ name: 'work', type: 'openai', baseUrl: 'http://127.0.0.1:9/v1', keys: [] })
    const options = [
      '--provider',
      'work',
      '--model',
      'm',
      '--api',
      'openai-chat',
      '--system',
      'Be kind',
      '--title',
      'T',
    ]
    const chat = await json<Chat>('chats', 'new', ...options, '--cwd', 'src')
    expect(chat).toMatchObject({
      status: 'waiting',
      provider: 'work',
      model: 'm',
      api: 'openai-chat',
      system: 'Be kind',
      title: 'T',
      cwd: 'src',
    })
    await expect(print('chats', 'new', '--provider', 'work')).rejects.toThrow('--model: is missing')
    await expect(print('chats', 'new', '--agent', 'nobody')).rejects.toMatchObject({ reason: 'unknown_row' })
  })

  test('--no-watch does not wait for the turn', async () => {
    const { json, print } = await user()
    const { id, status } = await json<Chat>('chats', 'new', 'Hello', '--no-watch')
    expect(status).toBe('running')
    expect(await json('chats', 'send', id, 'More', '--no-watch')).toMatchObject({ state: 'queued' })
    expect(await print('chats', 'interrupt', id)).toBe(`chat ${id} is interrupting\n`)
    expect(await json<Chat>('chats', 'interrupt', id, '--clear-queue')).toMatchObject({ queue: [] })
    expect(await json<ChatList>('chats', 'list')).toMatchObject({ chats: [{ id, status: 'interrupting' }] })
    expect(await print('chats', 'list')).toMatch(/STATE .*\n.* interrupting +demo +demo +-\n$/)
    expect(await json<ChatList>('chats', 'list', '--archived')).toMatchObject({ chats: [] })
    await endInterrupt(id)
  })

  test('send to a busy chat shows the turn of its own message', async () => {
    const { json, print } = await user()
    const { id } = await json<Chat>('chats', 'new', 'one', '--no-watch')
    const queued = deferred<void>()
    runTurns(async (run, changes) => {
      await queued.promise
      const first = await changes.finishTurn(run, [yes])
      if (first.state !== 'done') throw new Error(first.state)
      const { historyVersion } = first.row
      await changes.finishTurn({ ...run, historyVersion }, [{ ...yes, parts: [{ type: 'text', text: 'Two.' }] }])
    })
    onTestFinished(store().onChatChange(() => queued.resolve()))
    expect(await print('chats', 'send', id, 'two')).toBe('the message waits for the running turn\nTwo.\n')
  })

  test('a turn that fails is a failure of its command, with the reason', async () => {
    const { print, json } = await user()
    runTurns((run, changes) => changes.failTurn(run, { reason: 'billing', message: 'pay first' }))
    await expect(print('chats', 'new', 'Hello')).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      reason: 'billing',
      message: 'the turn failed: pay first',
    })
    const { chats } = await json<ChatList>('chats', 'list', '--limit', '1')
    const [{ id } = { id: '' }] = chats
    await expect(print('chats', 'watch', id)).rejects.toMatchObject({ reason: 'billing' })
    expect(await print('chats', 'list')).toContain('error: billing')
    expect(await print('chats', 'show', id)).toMatch(/\nerror +billing: pay first\n/)
  })

  test('a message that is taken out of the queue ends its send with a failure', async () => {
    const { connect, json, print, key } = await user()
    const { id: chatId, ownerId: userId } = await json<Chat>('chats', 'new', 'one', '--no-watch')
    const { chats } = connect({ role: 'user', name: 'user', userId, apiKeyId: key.slice(0, 10) })
    const interrupted = deferred<void>()
    const stop = store().onChatChange(() => {
      stop()
      void chats.interrupt.mutate({ chatId, clearQueue: true }).then(() => interrupted.resolve())
    })
    const sent = expect(print('chats', 'send', chatId, 'two')).rejects.toMatchObject({ reason: 'unknown_message' })
    await interrupted.promise
    await endInterrupt(chatId)
    await sent
  })

  test('--json prints events, and --since goes on behind one of them', async () => {
    const { print, json } = await user()
    runTurns(finish)
    const [chat, ...events] = eventsOf(await print('chats', 'new', 'Hello', '--json'))
    expect(events.map(({ kind }) => kind)).toContain('status')
    expect(events.find(({ kind }) => kind === 'message')).toMatchObject({ message: { role: 'user' } })
    const watched = eventsOf(await print('chats', 'watch', chat?.id ?? '', '--json'))
    const first = watched.find(({ kind }) => kind === 'message')
    const behind = eventsOf(await print('chats', 'watch', chat?.id ?? '', '--json', '--since', first?.id ?? ''))
    const messages = behind.flatMap(event => (event.kind === 'message' ? [event.message.role] : []))
    expect(messages).toEqual(['assistant'])
    await expect(print('chats', 'watch', chat?.id ?? '', '--since', 'x')).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: '--since "x": is not an event id of this chat, as watch --json prints them',
    })
    const shown = await json<{ chat: Chat; messages: ChatMessage[] }>('chats', 'show', chat?.id ?? '')
    expect(shown).toMatchObject({ chat: { status: 'waiting' }, messages: [{ role: 'user' }, { role: 'assistant' }] })
  })

  test('a chat of another user is unknown, and nothing is left of the watch', async () => {
    const { json } = await user()
    const { id } = await json<Chat>('chats', 'new')
    const other = await user()
    const listeners = () => [process.listenerCount('SIGINT'), process.stdout.listenerCount('error')]
    const before = listeners()
    for (const command of ['watch', 'show', 'interrupt']) {
      await expect(other.print('chats', command, id)).rejects.toMatchObject({
        code: 'NOT_FOUND',
        reason: 'unknown_chat',
      })
    }
    expect(listeners()).toEqual(before)
  })

  test('a key that the server rejects, and one of another form, are failures without the key', async () => {
    const { print } = await user()
    const key = `abcdefghij-${'x'.repeat(22)}`
    await expect(print('chats', 'list', '--key', key)).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      reason: 'key_invalid',
      message: expect.stringMatching(/^the server at http:\/\/127\.0\.0\.1:\d+ rejects the API key: /),
    })
    const file = join(await makeEmptyDir('key'), 'key')
    await writeFile(file, 'not a key\n')
    await expect(print('chats', 'list', '--key-file', file)).rejects.toMatchObject({ reason: 'config_invalid' })
    await expect(print('chats', 'list', '--key-file', `${file}s`)).rejects.toThrow('cannot be read')
  })

  test('the key may stand in a file', async () => {
    const { print, key } = await user()
    const file = join(await makeEmptyDir('key'), 'key')
    await writeFile(file, `${key}\n`)
    vi.stubEnv('AIBRIDGE_KEY', '')
    expect(await print('chats', 'list', '--key-file', file)).toBe('no chats\n')
    await expect(print('chats', 'list')).rejects.toThrow('AIBRIDGE_KEY: is missing')
  })
})

describe('the key of a user', () => {
  const key = `${'a'.repeat(10)}-${'b'.repeat(22)}`
  test.each([
    ['of the flag', { key }, {}, { key, keyFile: undefined }],
    ['of the variable', {}, { AIBRIDGE_KEY: key }, { key, keyFile: undefined }],
    ['of stdin', { key: '-' }, { AIBRIDGE_KEY: key }, { key: '-', keyFile: undefined }],
    ['of a file before the variable', { keyFile: '/k' }, { AIBRIDGE_KEY: key }, { key: undefined, keyFile: '/k' }],
    ['of the flag before the file', { key }, { AIBRIDGE_KEY_FILE: '/k' }, { key, keyFile: undefined }],
  ])('the key of a user is that %s', (_source, flags, environment, expected) => {
    expect(userConfig(flags, environment)).toMatchObject(expected)
  })

  test('the server of a user stands at a URL, or at a host and a port', () => {
    expect(userConfig({ key, port: '5000' }, {})).toMatchObject({ url: 'http://127.0.0.1:5000', isUrlGiven: false })
    const environment = { BRIDGE_URL: 'https://bridge.example.com' }
    expect(userConfig({ key }, environment)).toMatchObject({ url: 'https://bridge.example.com', isUrlGiven: true })
    expect(() => userConfig({ key: 'a-b' }, {})).toThrow('--key: is not an API key')
  })
})
