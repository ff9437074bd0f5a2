/** `aibridge mcp test` against MCP servers of both generations, and sick ones. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { addMcpCommands } from '../../../server/commands/mcp.js'
import { listMcpTools } from '../../../server/services/tools/mcp-tools.js'
import type { McpServerTest } from '../../../shared/contract/admin/mcp-servers.js'
import {
  type RunningMcpServer,
  startNewMcpServer,
  startOldMcpServer,
  startScriptedMcpServer,
} from '../../fixtures/mcp/mcp-servers.js'
import { oneStore } from '../services/running-server.js'
import { commandLine } from './command-line.js'

const store = oneStore()
const servers: RunningMcpServer[] = []
let users = 0

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

/** Starts a server that takes the token `good`, and a user. */
async function start(startServer: (tokens: string[]) => Promise<RunningMcpServer>) {
  const server = await startServer(['good'])
  servers.push(server)
  const line = await commandLine(store(), addMcpCommands)
  const [id, user] = [`s-${++users}`, `user-${users}`]
  await line.admin.users.create.mutate({ username: user })
  await line.admin.mcpServers.upsert.mutate({ id, url: server.url, toolDenyRegex: '^delete_' })
  const link = (accessToken: string) => line.admin.externalAuthLinks.set.mutate({ user, serverId: id, accessToken })
  return { ...line, server, id, user, link, tested: () => line.json<McpServerTest>('mcp', 'test', id, '--user', user) }
}

describe.each([
  ['the first', (tokens: string[]) => startOldMcpServer(tokens)],
  ['the second', startNewMcpServer],
] as const)('a server of %s generation', (_, startServer) => {
  test('lists its tools with the user’s token, and whether each is offered', async () => {
    const { server, id, user, link, print, tested, admin } = await start(startServer)
    await link('good')
    const { tools, ...result } = await tested()
    expect(result).toMatchObject({ id, username: user, ok: true, url: server.url, failure: null, unusable: 0 })
    expect(tools.filter(({ name }) => !name.includes('/')).map(({ name, offered }) => [name, offered])).toEqual([
      ['echo', true],
      ['fail', true],
      ['delete_page', false],
    ])
    const text = await print('mcp', 'test', id, '--user', user)
    expect(text).toMatch(/^TOOL .*\necho +yes/)
    expect(text).not.toContain('good')
    expect(server.sessions()).toEqual([])
    const { entries } = await admin.audit.list.query({ action: 'mcpServers.test', limit: 1 })
    expect(entries).toMatchObject([{ username: user, target: id, details: { failure: null } }])
  })
})

const json = { 'content-type': 'application/json' }
type Handler = Parameters<typeof startScriptedMcpServer>[0]
const results: Record<string, object> = {
  initialize: { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } },
}
const lists = (page: (params: { cursor?: string }) => object): Handler => {
  return (_request, response, body) => {
    const { id, method, params } = body === '' ? { id: 0, method: '', params: {} } : JSON.parse(body)
    if (id === undefined) return void response.writeHead(202).end()
    const result = method === 'tools/list' ? page(params ?? {}) : results[method]
    const error = { code: -32601, message: 'MARKED words of the server' }
    response.writeHead(200, json).end(JSON.stringify({ jsonrpc: '2.0', id, ...(result ? { result } : { error }) }))
  }
}

test('one bad tool hides no other, and a tool without a name is counted', async () => {
  const bad = { name: 'bad', inputSchema: 7, outputSchema: { pattern: '(' } }
  const list = lists(() => ({ tools: [{ name: 'good', inputSchema: { type: 'object' } }, bad, { name: 1 }, null] }))
  const { link, tested } = await start(tokens => startScriptedMcpServer(list, tokens))
  await link('good')
  expect(await tested()).toMatchObject({ tools: [{ name: 'good' }, { name: 'bad', description: '' }], unusable: 2 })
})

test('a token that the server repeats in names and descriptions is masked', async () => {
  const token = 'token-of-ada-1234567'
  const list = lists(() => ({ tools: [{ name: `x ${token}`, description: `for ${token}` }] }))
  const { server, link, tested } = await start(tokens => startScriptedMcpServer(list, tokens))
  server.tokens.add(token)
  await link(token)
  expect((await tested()).tools).toMatchObject([{ name: 'x [secret]', description: 'for [secret]' }])
})

const failures: [string, Handler][] = [
  ['no_mcp', (_request, response) => void response.writeHead(200, json).end('{"hello":"MARKED"}')],
  ['no_mcp', lists(() => ({ tools: 'MARKED' }))],
  ['status', (_request, response) => void response.writeHead(500).end('MARKED')],
  ['redirect', (_request, response) => void response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end()],
  ['too_large', lists(({ cursor }) => ({ tools: [], nextCursor: cursor ?? 'again' }))],
  ['too_large', lists(() => ({ tools: [{ name: 'x'.repeat(5_000_000) }] }))],
]
test.each(failures)('a failure is typed (%s), and repeats no word of the server', async (failure, handler) => {
  const { id, user, link, tested, admin } = await start(tokens => startScriptedMcpServer(handler, tokens))
  await link('good')
  await expect(tested()).rejects.toMatchObject({ reason: 'mcp_server_failed' })
  const result = await admin.mcpServers.test.mutate({ id, user })
  expect(result).toMatchObject({ ok: false, failure, tools: [] })
  expect(result.message).not.toContain('MARKED')
})

test('a token that is missing or not accepted is a failure of its own', async () => {
  const { id, user, link, server, admin } = await start(startOldMcpServer)
  const failure = async () => (await admin.mcpServers.test.mutate({ id, user })).failure
  expect(await failure()).toBe('unauthorized')
  await admin.mcpServers.upsert.mutate({ id, url: server.url, validateUrl: 'http://127.0.0.1:9/' })
  expect(await failure()).toBe('no_link')
  await admin.mcpServers.upsert.mutate({ id, url: server.url, validateUrl: null })
  await link('bad')
  expect(await failure()).toBe('expired_or_invalid')
  server.tokens.clear()
  expect(await failure()).toBeNull()
})

test('a server that is away, or silent, is a failure in time', async () => {
  const { id, user, link, admin } = await start(tokens => startScriptedMcpServer(() => {}, tokens))
  await link('good')
  await admin.mcpServers.upsert.mutate({ id, url: 'http://127.0.0.1:9/mcp' })
  expect(await admin.mcpServers.test.mutate({ id, user })).toMatchObject({ failure: 'unreachable' })
  const silent = servers[0]?.url ?? ''
  const timeout = new AbortController()
  const listed = listMcpTools(silent, 'good', timeout.signal)
  timeout.abort(new Error('too late'))
  await expect(listed).rejects.toThrow('too late')
})
