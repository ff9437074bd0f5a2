/** `aibridge mcp` against a server that listens. */
import { afterEach, expect, test, vi } from 'vitest'
import { addMcpCommands } from '../../../server/commands/mcp.js'
import type { ExternalAuthLink } from '../../../shared/contract/admin/external-auth-links.js'
import type { McpServer } from '../../../shared/contract/admin/mcp-servers.js'
import { daemon, oneStore } from '../services/running-server.js'
import { commandLine } from './command-line.js'

const store = oneStore()

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

test('servers are added, listed and removed, and users linked to them, without a secret on the command line', async () => {
  const { admin, connect, json, print } = await commandLine(store(), addMcpCommands)
  const user = await admin.users.create.mutate({ username: 'edith' })
  vi.stubEnv('CLIENT_SECRET', 'MARKED-client')
  vi.stubEnv('ACCESS', 'MARKED-access')
  vi.stubEnv('REFRESH', 'MARKED-refresh')
  const add = ['mcp', 'add', 'wiki', '--url', 'https://wiki.example.com/mcp', '--allow', '^read_']
  const oauth = [
    '--token-url',
    'https://id.example.com/token',
    '--client-id',
    'bridge',
    '--client-secret-env',
    'CLIENT_SECRET',
  ]
  expect(await json<McpServer>(...add, ...oauth)).toMatchObject({
    id: 'wiki',
    toolAllowRegex: '^read_',
    hasClientSecret: true,
  })
  expect(await print('mcp', 'list')).toMatch(/^NAME .*\nwiki +https:\/\/wiki\.example\.com\/mcp +\^read_ +- /)
  const link = [
    'mcp',
    'link',
    'wiki',
    '--user',
    'edith',
    '--access-token-env',
    'ACCESS',
    '--refresh-token-env',
    'REFRESH',
  ]
  expect(await json<ExternalAuthLink>(...link, '--expires', '2030-01-31')).toMatchObject({
    userId: user.id,
    hasRefreshToken: true,
    expiresAt: '2030-01-31T00:00:00.000Z',
  })
  const batch = { userId: user.id, serverIds: ['wiki'] }
  expect(await connect(daemon).mcpConfigurator.getServerAccessTokensBatch.query(batch)).toEqual({
    accessTokens: { wiki: 'MARKED-access' },
    errors: {},
  })
  expect(await print('mcp', 'links')).toMatch(/^USER .*\nedith +wiki +2030-01-31T\S+ +yes /)
  expect(await json<ExternalAuthLink[]>('mcp', 'links')).toMatchObject([{ userId: user.id, username: 'edith' }])
  const printed = [await print('mcp', 'links', '--user', 'edith'), await print('mcp', 'list', '--json')].join('')
  expect(printed).not.toContain('MARKED')
  expect(await print('mcp', 'unlink', 'wiki', '--user', 'edith')).toBe('unlinked edith from MCP server wiki\n')
  expect(await print('mcp', 'links')).toMatch(/^no links yet/)
  expect(await print('mcp', 'remove', 'wiki')).toBe('removed MCP server wiki\n')
})

test('adding a server that is there keeps what is left out; an empty value takes it away', async () => {
  const { json } = await commandLine(store(), addMcpCommands)
  const add = ['mcp', 'add', 'notes', '--url', 'https://notes.example.com/mcp']
  await json<McpServer>(...add, '--allow', '^read_', '--deny', 'secret$')
  expect(await json<McpServer>(...add)).toMatchObject({ toolAllowRegex: '^read_', toolDenyRegex: 'secret$' })
  expect(await json<McpServer>(...add, '--allow', '')).toMatchObject({ toolAllowRegex: null, toolDenyRegex: 'secret$' })
})

test('the tools of a server are injected if an operator says so, until the operator says otherwise', async () => {
  const { json, print } = await commandLine(store(), addMcpCommands)
  const add = ['mcp', 'add', 'search', '--url', 'https://search.example.com/mcp']
  expect(await json<McpServer>(...add)).toMatchObject({ inject: false })
  expect(await json<McpServer>(...add, '--inject')).toMatchObject({ inject: true })
  expect(await json<McpServer>(...add, '--allow', 'x')).toMatchObject({ inject: true })
  expect(await print('mcp', 'list')).toMatch(/^search +https:\S+ +x +- +yes /m)
  expect(await json<McpServer>(...add, '--no-inject')).toMatchObject({ inject: false })
})

test('a pattern that cannot be used, and a variable that is empty, are rejected', async () => {
  const { print } = await commandLine(store(), addMcpCommands)
  const add = ['mcp', 'add', 'wiki', '--url', 'https://wiki.example.com/mcp']
  await expect(print(...add, '--deny', '(a+)+')).rejects.toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining('toolDenyRegex'),
  })
  await expect(print(...add, '--client-secret-env', 'NO_SUCH_VARIABLE')).rejects.toMatchObject({
    reason: 'config_invalid',
    message: expect.stringContaining('NO_SUCH_VARIABLE'),
  })
})
