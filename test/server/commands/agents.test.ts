/** `aibridge agents` against a server that listens; runs on agents are in test/e2e. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { HeadAndTail } from '../../../client/agent/head-and-tail.js'
import { addAgentsCommands } from '../../../server/commands/agents.js'
import { commandOf, GrowingOutput, passSignals } from '../../../server/commands/common/run-on-agent.js'
import { agentConfig } from '../../../server/config/config.js'
import type { Agent, CreatedAgent } from '../../../shared/contract/admin/agents.js'
import type { ProcessOutput } from '../../../shared/contract/agents.js'
import { processLimits } from '../../../shared/contract/limits.js'
import { oneStore } from '../services/running-server.js'
import { commandLine } from './command-line.js'

const store = oneStore()
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

/** Commands, and an agent of a user with the same name. */
async function operator(name: string) {
  const line = await commandLine(store(), addAgentsCommands)
  await line.admin.users.create.mutate({ username: name })
  const { key, ...created } = await line.json<CreatedAgent>('agents', 'create', '--name', name, '--user', name)
  return { ...line, key, created }
}

test('agents create, list and revoke: the key is shown once', async () => {
  const { json, print, key, created } = await operator('builder')
  expect(key).toMatch(/^[A-Za-z0-9]{10}-[A-Za-z0-9]{22}$/)
  expect(created).toMatchObject({ name: 'builder', username: 'builder', expiresAt: null, isConnected: false })
  expect(await print('agents', 'list')).toMatch(/NAME .*\n.*builder .* away/)
  expect(await print('agents', 'list')).not.toContain(key.split('-')[1])
  expect(await json<Agent>('agents', 'revoke', 'builder')).toMatchObject({ revokedAt: expect.any(String) })
  expect(await print('agents', 'list')).toMatch(/builder .* revoked/)
})

test.each([
  [['make test'], 'make test'],
  [['ls', '-l', 'my file'], "'ls' '-l' 'my file'"],
  [['echo', "it's"], "'echo' 'it'\\''s'"],
])('a command of one word is a line, and several stay words: %j', (words, command) => {
  expect(commandOf(words)).toBe(command)
})

describe('a growing output', () => {
  const state = (output: string, more: Partial<ProcessOutput> = {}): ProcessOutput => ({
    output,
    running: true,
    durationMs: 0,
    ...more,
  })
  const truncated = { originalBytes: 9, retainedBytes: 1, omittedBytes: 8, cutLines: 0 }

  test.each<[string, ProcessOutput[], string]>([
    ['whole lines, each once', [state('a\nb'), state('a\nbc\n'), state('a\nbc\nd', { running: false })], 'a\nbc\nd'],
    [
      'the end of a cut one',
      [state('a\n'), state('a\nx', { truncated }), state('a\n…z', { running: false, truncated })],
      'a\n…z',
    ],
    ['lines behind a cut one', [state('a […]\n', { truncated }), state('a […]\nb\n', { truncated })], 'a […]\nb\n'],
    ['the last line without a newline', [state('', { running: false }), state('x', { running: false })], 'x'],
  ])('a growing output prints %s', (_what, states, printed) => {
    let text = ''
    vi.spyOn(process.stdout, 'write').mockImplementation(chunk => {
      text += String(chunk)
      return true
    })
    const output = new GrowingOutput()
    for (const each of states) output.show(each)
    expect(text).toBe(printed)
  })
})

test('a growing output prints no line twice when its middle is left out', () => {
  let text = ''
  vi.spyOn(process.stdout, 'write').mockImplementation(chunk => {
    text += String(chunk)
    return true
  })
  const notes = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const [output, shown] = [new HeadAndTail(processLimits), new GrowingOutput()]
  const write = (from: number, to: number) => {
    for (let n = from; n < to; n++) output.write(Buffer.from(`line ${n} ${'.'.repeat(55)}\n`))
  }
  for (const [from, to] of [
    [0, 200],
    [200, 480],
    [480, 900],
  ] as const) {
    write(from, to)
    shown.show({ running: true, durationMs: 0, ...output.read({ isWhole: false }) })
  }
  expect(text).toContain('line 199 ')
  const whole = output.read({ isWhole: true })
  shown.show({ running: false, exitCode: 0, durationMs: 0, ...whole })
  expect(text).toBe(whole.output)
  expect(notes).toHaveBeenCalledTimes(1)
})

test('signals before the response of a start are passed on behind it', () => {
  const before = process.listenerCount('SIGINT')
  const signals = passSignals()
  const sent: string[] = []
  process.emit('SIGINT')
  signals.begin(async signal => {
    sent.push(signal)
    return {}
  })
  expect(sent).toEqual(['terminate'])
  process.emit('SIGINT')
  expect(sent).toEqual(['terminate', 'kill'])
  signals.end()
  expect(process.listenerCount('SIGINT')).toBe(before)
})

describe('the key of an agent', () => {
  const key = `${'a'.repeat(10)}-${'b'.repeat(22)}`
  const url = 'http://localhost'
  test.each([
    ['of the flag', { key }, {}, { key, keyFile: undefined }],
    ['of the variable', {}, { BRIDGE_AGENT_KEY: key }, { key, keyFile: undefined }],
    ['of stdin', { key: '-' }, {}, { key: '-', keyFile: undefined }],
    ['of a file', { keyFile: '/k' }, {}, { key: undefined, keyFile: '/k' }],
    ['of a file before the variable', { keyFile: '/k' }, { BRIDGE_AGENT_KEY: key }, { key: undefined, keyFile: '/k' }],
    ['of the flag before the file', { key }, { BRIDGE_AGENT_KEY_FILE: '/k' }, { key, keyFile: undefined }],
  ])('the key of an agent is that %s', (_source, flags, environment, expected) => {
    expect(agentConfig({ url, ...flags }, environment)).toMatchObject(expected)
  })

  test.each([
    ['no key', {}, 'agents create'],
    ['two keys', { key, keyFile: '/k' }, '--key and --key-file'],
    ['another text', { key: 'a-b' }, 'is not the key of an agent'],
  ])('the key of an agent is rejected: %s', (_what, flags, message) => {
    expect(() => agentConfig({ url, ...flags }, {})).toThrow(message)
  })
})
