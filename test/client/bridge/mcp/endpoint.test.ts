/** The endpoint as MCP clients use it: official clients of both generations, with every control plane and link. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { eventually } from '../../../fixtures/eventually.js'
import { type McpClient, mcpClients } from '../../../fixtures/mcp/mcp-clients.js'
import { type RunningMcpServer, startNewMcpServer, startOldMcpServer } from '../../../fixtures/mcp/mcp-servers.js'
import { controlPlanes, type RunningControlPlane } from '../control-planes.js'
import { type RunningBridge, send, startBridge } from '../running-bridge.js'

const servers = [
  ['of the first generation', (tokens: string[]) => startOldMcpServer(tokens)],
  ['of the first generation, without streams', (tokens: string[]) => startOldMcpServer(tokens, { json: true })],
  ['of the second generation', startNewMcpServer],
] as const

describe.each(controlPlanes())('with $name', ({ name: planeName, start }) => {
  let plane: RunningControlPlane
  let bridge: RunningBridge
  let server: RunningMcpServer
  let clients: McpClient[]
  const bearer = () => ({ authorization: `Bearer ${plane.key}` })

  beforeEach(async () => {
    clients = []
    plane = await start('http://127.0.0.1:9')
    bridge = await startBridge(plane.client, {}, plane.key)
  })
  afterEach(async () => {
    for (const client of clients) await client.close()
    await bridge.close()
    await plane.close()
    await server.close()
  })

  async function serve(startServer: (tokens: string[]) => Promise<RunningMcpServer>): Promise<string> {
    server = await startServer(['token-of-test'])
    await plane.addMcpServer({ id: 'wiki', url: server.url, toolDenyRegex: '^delete_' }, 'token-of-test')
    return `${bridge.url}/mcp/wiki`
  }

  // The kinds of servers make no difference to a control plane.
  const startedServers = planeName.includes('scripted') ? servers : servers.slice(0, 1)
  describe.each(startedServers)('a server %s', (_, startServer) => {
    test.each(mcpClients)('serves a client of %s, which lists, calls and gets errors', async (_name, connect) => {
      const url = await serve(startServer)
      const client = await connect(url, bearer())
      clients.push(client)
      expect((await client.tools()).filter(name => !name.includes('/'))).toEqual(['echo', 'fail'])
      expect(await client.call('echo', 'hello')).toEqual({ text: 'echo: hello', isError: false })
      expect(await client.call('fail', 'x')).toEqual({ text: 'failed: x', isError: true })
      await expect(client.call('delete_page', 'x')).rejects.toThrow(
        '"delete_page" of the MCP server "wiki" is not offered',
      )
      expect(server.received.every(({ headers }) => headers.authorization === 'Bearer token-of-test')).toBe(true)
      expect(JSON.stringify(server.received)).not.toContain(plane.key)
      expect(server.received.map(({ body }) => body).join()).not.toContain('delete_page')
      const recorded = await eventually(async () => {
        const all = await plane.recorded()
        expect(all.filter(({ end }) => Reflect.get(end, 'endedAt') instanceof Date)).toHaveLength(2)
        return all
      })
      const common = { provider: 'mcp', providerName: 'wiki', interceptionKind: 'mcp' }
      expect(recorded).toMatchObject([
        {
          interception: { ...common, model: 'echo' },
          tokens: [],
          tools: [{ tool: 'echo', input: '{"text":"hello"}', serverUrl: server.url, injected: false }],
        },
        { interception: { ...common, model: 'fail' }, tools: [{ tool: 'fail', invocationError: 'failed: x' }] },
      ])
      for (const { tools, end } of recorded) {
        expect(tools).toMatchObject([{ metadata: { duration_ms: expect.any(Number) } }])
        expect(Reflect.get(end, 'errorType') ?? null).toBeNull()
      }
    })
  })

  test('a session goes on behind a restart and on another bridge, and belongs to its user', async () => {
    const [, connect] = mcpClients[0] ?? []
    const url = await serve(startOldMcpServer)
    const client = await connect?.(url, bearer())
    if (client) clients.push(client)
    const sessionId = client?.sessionId() ?? ''
    expect(server.sessions()).not.toContain(sessionId)
    const other = await startBridge(plane.client, {}, plane.key)
    const list = (key: string, at: string) =>
      send(
        { url: at },
        {
          method: 'POST',
          path: '/mcp/wiki',
          headers: {
            authorization: `Bearer ${key}`,
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
            'mcp-session-id': sessionId,
            'mcp-protocol-version': '2025-06-18',
          },
          body: '{"jsonrpc":"2.0","id":7,"method":"tools/list"}',
        },
      )
    const response = await list(plane.key, other.url)
    expect(response.status).toBe(200)
    expect(response.body.toString()).toContain('"echo"')
    const otherKey = await plane.otherKey()
    if (otherKey !== undefined) {
      const count = server.received.length
      const rejected = await list(otherKey, bridge.url)
      expect({ status: rejected.status, body: JSON.parse(rejected.body.toString()) }).toMatchObject({
        status: 404,
        body: { error: { data: { reason: 'unknown_session' } } },
      })
      expect(server.received).toHaveLength(count)
    }
    await other.close()
  })
})
