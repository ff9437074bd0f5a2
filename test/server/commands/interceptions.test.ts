/** `aibridge interceptions` for people, against a server that listens. */
import { randomUUID } from 'node:crypto'
import { afterEach, expect, test, vi } from 'vitest'
import { addInterceptionsCommands } from '../../../server/commands/interceptions.js'
import { addUsageCommand } from '../../../server/commands/usage.js'
import type { InterceptionDetail, InterceptionsPage } from '../../../shared/contract/admin/interceptions.js'
import { daemon, oneStore } from '../services/running-server.js'
import { commandLine } from './command-line.js'

const store = oneStore()

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

test('an unknown error type is rejected with the list of all', async () => {
  const { print } = await commandLine(store(), addInterceptionsCommands)
  await expect(print('interceptions', 'list', '--error-type', 'rate_limit')).rejects.toThrow(
    /'rate_limit' is invalid\. Allowed choices are bad_request, unauthorized, .*, unknown\./,
  )
  expect(await print('interceptions', 'list', '--error-type', 'rate_limited')).toBe('no interceptions\n')
})

test('JSON has whole ids', async () => {
  const { connect, json } = await commandLine(store(), addInterceptionsCommands)
  const id = randomUUID()
  const fields = { initiatorId: randomUUID(), apiKeyId: 'k'.repeat(10), provider: 'openai', model: 'm' }
  await connect(daemon).recorder.recordInterception.mutate({ id, ...fields, startedAt: new Date() })
  const { interceptions } = await json<InterceptionsPage>('interceptions', 'list', '--user', fields.initiatorId)
  expect(interceptions).toMatchObject([{ id, initiatorId: fields.initiatorId, username: null }])
  const detail = await json<InterceptionDetail>('interceptions', 'show', id.slice(-12).toUpperCase())
  expect(detail.interception.id).toBe(id)
})

test('the list and a request name the user, and say what was not recorded and how large it was', async () => {
  const { admin, connect, print } = await commandLine(store(), addInterceptionsCommands)
  const { recorder } = connect(daemon)
  const { id: initiatorId } = await admin.users.create.mutate({ username: 'ada' })
  const [id, createdAt] = [randomUUID(), new Date()]
  const child = (field: string, bytes: number) => ({
    id: randomUUID(),
    interceptionId: id,
    metadata: { original_bytes: { [field]: bytes } },
    createdAt,
  })
  await recorder.recordInterception.mutate({
    id,
    initiatorId,
    apiKeyId: 'k'.repeat(10),
    provider: 'openai',
    model: 'm',
    startedAt: createdAt,
  })
  await recorder.recordPromptUsage.mutate({ ...child('prompt', 12345), msgId: 'x', prompt: '' })
  await recorder.recordModelThought.mutate({ ...child('content', 7), content: '' })
  await recorder.recordToolUsage.mutate({ ...child('input', 0), msgId: 'x', tool: 'Read', input: '', injected: false })
  await recorder.recordToolUsage.mutate({
    ...child('input', 9),
    msgId: 'x',
    tool: 'Cut',
    input: 'kept',
    injected: false,
  })

  expect(await print('interceptions', 'list', '--user', 'ada')).toMatch(
    /^STARTED +ID +USER +PROVIDER .*\n.* ada +openai +m +- +no end yet +-\n$/,
  )
  const listed = /Z +([0-9a-f]{12}) /.exec(await print('interceptions', 'list', '--user', 'ada'))?.[1] ?? ''
  expect(id.endsWith(listed)).toBe(true)
  const shown = await print('interceptions', 'show', listed)
  expect(shown).toMatch(/^user +ada\n/)
  expect(shown).toContain('\nprompt\n  (not recorded, 12,345 bytes)\n')
  expect(shown).toContain('\nthought\n  (not recorded, 7 bytes)\n')
  expect(shown).toContain('\ntool  Read\n  (not recorded, 0 bytes)\n')
  expect(shown).toContain('\ntool  Cut\n  kept\n')
})

test('requests that clients make for themselves are marked, and --no-internal leaves them out', async () => {
  const { connect, json, print } = await commandLine(store(), addInterceptionsCommands)
  const [title, prompt] = [randomUUID(), randomUUID()]
  const fields = { initiatorId: randomUUID(), apiKeyId: 'k'.repeat(10), provider: 'openai', model: 'm' }
  const { recorder } = connect(daemon)
  const metadata = { request_kind: 'title' }
  await recorder.recordInterception.mutate({ id: title, ...fields, startedAt: new Date(), metadata })
  await recorder.recordInterception.mutate({ id: prompt, ...fields, startedAt: new Date() })
  const list = async (...flags: string[]) => {
    const page = await json<InterceptionsPage>('interceptions', 'list', '--user', fields.initiatorId, ...flags)
    return page.interceptions.map(({ id }) => id).sort()
  }
  expect(await list()).toEqual([title, prompt].sort())
  expect(await list('--no-internal')).toEqual([prompt])

  const usage = { msgId: 'x', prompt: 'Say hello.', createdAt: new Date() }
  await recorder.recordPromptUsage.mutate({ id: randomUUID(), interceptionId: title, ...usage, metadata })
  await recorder.recordPromptUsage.mutate({ id: randomUUID(), interceptionId: prompt, ...usage })
  expect(await print('interceptions', 'show', title)).toContain('\nprompt of the client (title)\n  Say hello.\n')
  expect(await print('interceptions', 'show', prompt)).toContain('\nprompt\n  Say hello.\n')
})

test('--kind shows AI requests or calls of tools alone, and usage counts AI requests unless told otherwise', async () => {
  const { connect, print } = await commandLine(store(), program => {
    addInterceptionsCommands(program)
    addUsageCommand(program)
  })
  const user = randomUUID()
  const fields = { initiatorId: user, apiKeyId: 'k'.repeat(10), startedAt: new Date() }
  const { recorder } = connect(daemon)
  await recorder.recordInterception.mutate({ id: randomUUID(), ...fields, provider: 'openai', model: 'm' })
  const call = { provider: 'mcp', providerName: 'wiki', model: 'search', interceptionKind: 'mcp' as const }
  await recorder.recordInterception.mutate({ id: randomUUID(), ...fields, ...call })
  const names = async (...args: string[]) => (await print(...args)).match(/\b(openai|wiki)\b/g)?.sort()
  const list = ['interceptions', 'list', '--user', user]
  expect(await names(...list)).toEqual(['openai', 'wiki'])
  expect(await names(...list, '--kind', 'model')).toEqual(['openai'])
  expect(await names(...list, '--kind', 'mcp')).toEqual(['wiki'])
  const usage = ['usage', '--user', user, '--by', 'provider']
  expect(await names(...usage)).toEqual(['openai'])
  expect(await names(...usage, '--kind', 'mcp')).toEqual(['wiki'])
  expect(await names(...usage, '--kind', 'all')).toEqual(['openai', 'wiki'])
})

test('an end by the control plane is marked, and --ended-by lists such requests alone', async () => {
  const { connect, json, print } = await commandLine(store(), addInterceptionsCommands)
  const [id, other] = [randomUUID(), randomUUID()]
  const daemonInstance = randomUUID()
  const fields = { initiatorId: randomUUID(), apiKeyId: 'k'.repeat(10), provider: 'openai', model: 'm' }
  for (const [one, instance] of [
    [id, daemonInstance],
    [other, randomUUID()],
  ] as const) {
    const { recorder } = connect({ ...daemon, daemonInstance: instance })
    await recorder.recordInterception.mutate({ id: one, ...fields, startedAt: new Date() })
  }
  await store().endOpenInterceptions({ daemonInstance, limit: 9 }, { at: new Date(), errorMessage: 'gone' })
  const list = ['interceptions', 'list', '--user', fields.initiatorId, '--ended-by', 'control_plane']
  expect((await json<InterceptionsPage>(...list)).interceptions.map(row => row.id)).toEqual([id])
  expect(await print(...list)).toMatch(/ s +unknown \(ended by control_plane\)\n$/)
  expect(await print('interceptions', 'show', id)).toMatch(/\nendedBy +control_plane\n/)
})
