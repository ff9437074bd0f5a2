import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type McpClient, mcpClients } from '../../../fixtures/mcp/mcp-clients.js'
import { type RunningMcpServer, startNewMcpServer, startOldMcpServer } from '../../../fixtures/mcp/mcp-servers.js'
import { type RunningBridge, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from '../scripted-control-plane.js'

let plane: ScriptedControlPlane
let bridge: RunningBridge
let server: RunningMcpServer
let client: McpClient | undefined

const servers = [
  ['old', startOldMcpServer],
  ['old, with JSON responses', (tokens: string[]) => startOldMcpServer(tokens, { json: true })],
  ['new', startNewMcpServer],
] as const

beforeEach(async () => {
  plane = scriptedControlPlane()
  plane.mcpTokens.set('wiki', { token: 'token-of-test' })
  bridge = await startBridge(plane)
})
afterEach(async () => {
  await client?.close()
  client = undefined
  await bridge.close()
  await server.close()
})

const key = { authorization: `Bearer ${testKey}` }

async function serve(start: (tokens: string[]) => Promise<RunningMcpServer>, patterns = {}): Promise<string> {
  server = await start(['token-of-test'])
  plane.mcpServers = [
    { id: 'wiki', url: server.url, toolAllowRegex: null, toolDenyRegex: '^delete_', inject: false, ...patterns },
  ]
  return `${bridge.url}/mcp/wiki`
}

describe.each(servers)('a server: %s', (_, start) => {
  test.each(mcpClients)('a client of %s lists, calls and gets errors', async (_name, connect) => {
    client = await connect(await serve(start), key)
    expect((await client.tools()).filter(name => !name.includes('/'))).toEqual(['echo', 'fail'])
    expect(await client.call('echo', 'hello')).toEqual({ text: 'echo: hello', isError: false })
    expect(await client.call('fail', 'x')).toEqual({ text: 'failed: x', isError: true })
    await expect(client.call('delete_page', 'x')).rejects.toThrow(
      '"delete_page" of the MCP server "wiki" is not offered',
    )
    expect(server.received.every(({ headers }) => headers.authorization === 'Bearer token-of-test')).toBe(true)
    expect(JSON.stringify(server.received)).not.toContain(testKey)
    expect(JSON.stringify(server.received.map(({ body }) => body))).not.toContain('delete_page')
    expect(plane.stored('toolUsage')).toMatchObject([
      { tool: 'echo', input: '{"text":"hello"}', serverUrl: server.url, injected: false },
      { tool: 'fail', invocationError: 'failed: x' },
    ])
    expect(plane.stored('interception')).toMatchObject([
      { provider: 'mcp', providerName: 'wiki', model: 'echo' },
      { provider: 'mcp', providerName: 'wiki', model: 'fail' },
    ])
    expect(plane.stored('interceptionEnded').map(({ errorType }) => errorType)).toEqual([undefined, undefined])
  })
})
