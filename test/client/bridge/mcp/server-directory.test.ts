import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createServerDirectory, type ServerDirectory } from '../../../../client/bridge/mcp/server-directory.js'
import { bridgeLimits } from '../../../../shared/contract/limits.js'
import type { McpServerConfig } from '../../../../shared/contract/mcp-configurator.js'
import { type LogLine, memoryLogger } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane } from '../scripted-control-plane.js'

const ada = '0198c5d4-0000-7000-8000-000000000001'
const bob = '0198c5d4-0000-7000-8000-000000000002'
const wiki: McpServerConfig = {
  id: 'wiki',
  url: 'http://wiki.test/mcp',
  toolAllowRegex: null,
  toolDenyRegex: null,
  inject: false,
}
const reads = 'mcpConfigurator.getServerConfigs'
const tokenReads = 'mcpConfigurator.getServerAccessTokensBatch'

let plane: ScriptedControlPlane
let directory: ServerDirectory
let log: LogLine[]

beforeEach(() => {
  vi.useFakeTimers()
  plane = scriptedControlPlane()
  plane.mcpServers = [wiki]
  plane.mcpTokens.set('wiki', { token: 'first' })
  const { logger, lines } = memoryLogger()
  log = lines
  directory = createServerDirectory({ client: plane, logger, limits: { ...bridgeLimits, mcpMaxUsers: 2 } })
})
afterEach(() => vi.useRealTimers())

const count = (path: string) => plane.calls.filter(call => call === path).length
const ids = async (userId = ada) => (await directory.servers(userId)).map(({ id }) => id)

describe('servers', () => {
  test('a user’s servers are read once a minute, and once for concurrent callers', async () => {
    await Promise.all([ids(), ids(), ids()])
    vi.advanceTimersByTime(59_999)
    await ids()
    expect(count(reads)).toBe(1)
    vi.advanceTimersByTime(1)
    plane.mcpServers = []
    expect(await ids()).toEqual([])
    expect(count(reads)).toBe(2)
  })

  test('a failed read keeps the last servers, and is repeated after seconds rather than each time', async () => {
    await ids()
    plane.before = () => {
      throw new Error('no control plane')
    }
    vi.advanceTimersByTime(60_000)
    expect(await ids()).toEqual(['wiki'])
    expect(await ids()).toEqual(['wiki'])
    expect(count(reads)).toBe(2)
    plane.before = () => {}
    plane.mcpServers = []
    vi.advanceTimersByTime(5_000)
    expect(await ids()).toEqual([])
  })

  test('a first read that fails fails its callers, and the next caller reads again', async () => {
    plane.before = () => {
      throw new Error('no control plane')
    }
    await expect(ids()).rejects.toThrow('no control plane')
    plane.before = () => {}
    expect(await ids()).toEqual(['wiki'])
  })

  test('a read without a response ends at the deadline', async () => {
    plane.before = () => new Promise(() => {})
    const read = expect(ids()).rejects.toThrow('the control plane did not respond within 10,000 ms')
    await vi.advanceTimersByTimeAsync(bridgeLimits.controlPlaneDeadlineMs)
    await read
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a caller that leaves ends its own wait, not the read of the others', async () => {
    let go = () => {}
    plane.before = () => new Promise<void>(resolve => (go = resolve))
    const abort = new AbortController()
    const left = directory.servers(ada, abort.signal)
    const stays = ids()
    abort.abort(new Error('gone'))
    await expect(left).rejects.toThrow('gone')
    go()
    expect(await stays).toEqual(['wiki'])
    expect(count(reads)).toBe(1)
  })

  test('the users that were asked for last are kept, no others', async () => {
    await ids(ada)
    await ids(bob)
    await ids(ada)
    await ids('0198c5d4-0000-7000-8000-000000000003')
    expect(count(reads)).toBe(3)
    await ids(ada)
    expect(count(reads)).toBe(3)
    await ids(bob)
    expect(count(reads)).toBe(4)
  })

  test('a closed directory aborts its reads and begins no others', async () => {
    plane.before = () => new Promise(() => {})
    const read = expect(ids()).rejects.toThrow('the bridge is closed')
    directory.close()
    await read
    await expect(ids(bob)).rejects.toThrow('the bridge is closed')
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('tokens', () => {
  test('a token is read once a minute, and once for concurrent callers', async () => {
    await Promise.all([directory.token(ada, 'wiki'), directory.token(ada, 'wiki')])
    vi.advanceTimersByTime(59_999)
    expect(await directory.token(ada, 'wiki')).toEqual({ token: 'first' })
    expect(count(tokenReads)).toBe(1)
    plane.mcpTokens.set('wiki', { token: 'second' })
    vi.advanceTimersByTime(1)
    expect(await directory.token(ada, 'wiki')).toEqual({ token: 'second' })
  })

  test('a rejected token is read again, once for all callers that saw its rejection', async () => {
    await directory.token(ada, 'wiki')
    plane.mcpTokens.set('wiki', { token: 'second' })
    const rejected = { rejected: 'first' }
    const tokens = [directory.token(ada, 'wiki', rejected), directory.token(ada, 'wiki', rejected)]
    expect(await Promise.all(tokens)).toEqual([{ token: 'second' }, { token: 'second' }])
    expect(await directory.token(ada, 'wiki', rejected)).toEqual({ token: 'second' })
    expect(count(tokenReads)).toBe(2)
  })

  test('a token is refreshed once in ten seconds, however many tokens the server rejects', async () => {
    await directory.token(ada, 'wiki')
    plane.mcpTokens.set('wiki', { token: 'second' })
    expect(await directory.token(ada, 'wiki', { rejected: 'first' })).toEqual({ token: 'second' })
    plane.mcpTokens.set('wiki', { token: 'third' })
    expect(await directory.token(ada, 'wiki', { rejected: 'second' })).toEqual({ error: 'expired_or_invalid' })
    expect(count(tokenReads)).toBe(2)
    vi.advanceTimersByTime(10_000)
    expect(await directory.token(ada, 'wiki', { rejected: 'second' })).toEqual({ token: 'third' })
  })

  test('a read that began before the rejection does not bring the rejected token back', async () => {
    let go = () => {}
    plane.after = path => (path === tokenReads ? new Promise<void>(resolve => (go = resolve)) : undefined)
    const before = directory.token(ada, 'wiki')
    await vi.waitFor(() => expect(count(tokenReads)).toBe(1))
    const finishFirst = go
    plane.after = () => {}
    plane.mcpTokens.set('wiki', { token: 'second' })
    expect(await directory.token(ada, 'wiki', { rejected: 'first' })).toEqual({ token: 'second' })
    finishFirst()
    await before
    expect(await directory.token(ada, 'wiki')).toEqual({ token: 'second' })
    expect(count(tokenReads)).toBe(2)
  })

  test('a token that stays the same after its rejection is not sent again for a minute', async () => {
    await directory.token(ada, 'wiki')
    expect(await directory.token(ada, 'wiki', { rejected: 'first' })).toEqual({ error: 'expired_or_invalid' })
    expect(await directory.token(ada, 'wiki')).toEqual({ error: 'expired_or_invalid' })
    vi.advanceTimersByTime(60_000)
    expect(await directory.token(ada, 'wiki')).toEqual({ token: 'first' })
  })

  test('the reason for a missing token is not kept: a link works at once', async () => {
    plane.mcpTokens.clear()
    expect(await directory.token(ada, 'wiki')).toEqual({ error: 'no_link' })
    plane.mcpTokens.set('wiki', { token: 'first' })
    expect(await directory.token(ada, 'wiki')).toEqual({ token: 'first' })
  })

  test.each(['validation_failed', 'timed_out'] as const)(
    'a token that could not be checked (%s) is used on',
    async error => {
      expect(await directory.token(ada, 'wiki')).toEqual({ token: 'first' })
      plane.mcpTokens.set('wiki', { error })
      vi.advanceTimersByTime(60_000)
      expect(await directory.token(ada, 'wiki')).toEqual({ token: 'first' })
      expect(await directory.token(ada, 'wiki', { rejected: 'first' })).toEqual({ error })
    },
  )

  test.each(['no_link', 'expired_or_invalid'] as const)(
    'a token that the user lost (%s) is not used on',
    async error => {
      await directory.token(ada, 'wiki')
      plane.mcpTokens.set('wiki', { error })
      vi.advanceTimersByTime(60_000)
      expect(await directory.token(ada, 'wiki')).toEqual({ error })
    },
  )

  test('a server that is not among the user’s has no token', async () => {
    expect(await directory.token(ada, 'constructor')).toEqual({ error: 'unknown_server' })
    expect(count(tokenReads)).toBe(0)
  })

  test('users do not share tokens', async () => {
    await directory.token(ada, 'wiki')
    plane.mcpTokens.set('wiki', { token: 'of bob' })
    expect(await directory.token(bob, 'wiki')).toEqual({ token: 'of bob' })
    expect(await directory.token(ada, 'wiki')).toEqual({ token: 'first' })
  })
})

describe('the filter of tools', () => {
  const offers: [allow: string | null, deny: string | null, offered: string[], hidden: string[]][] = [
    [null, null, ['read', 'a tool/with space', 'x'.repeat(128)], ['x'.repeat(129)]],
    ['^read', null, ['read', 'read_page'], ['write', 'Read']],
    [null, 'delete', ['read'], ['delete_page', 'undelete']],
    ['page', 'delete', ['read_page'], ['delete_page', 'read']],
    ['\\p{Lu}', null, ['Ü'], ['ü']],
  ]
  test.each(offers)('allow %s and deny %s decide by the bare name, and deny wins', (allow, deny, offered, hidden) => {
    const filter = directory.toolFilter({ ...wiki, toolAllowRegex: allow, toolDenyRegex: deny })
    for (let turn = 0; turn < 2; turn++) {
      expect(offered.filter(name => !filter(name))).toEqual([])
      expect(hidden.filter(filter)).toEqual([])
    }
  })

  test.each([
    ['(', null],
    [null, '('],
  ])('of a server whose pattern does not compile nothing is offered', (allow, deny) => {
    const server = { ...wiki, toolAllowRegex: allow, toolDenyRegex: deny }
    expect(directory.toolFilter(server)('read')).toBe(false)
    expect(directory.toolFilter({ ...server })('read')).toBe(false)
    expect(log).toMatchObject([{ level: 'warn', fields: { server: 'wiki' } }])
  })
})
