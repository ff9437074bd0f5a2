import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../../../fixtures/eventually.js'
import { type McpClient, mcpClients } from '../../../fixtures/mcp/mcp-clients.js'
import { type ServerEverything, startServerEverything } from '../../../fixtures/mcp/server-everything.js'
import { type RunningBridge, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from '../scripted-control-plane.js'

let server: ServerEverything
let plane: ScriptedControlPlane
let bridge: RunningBridge

beforeAll(async () => {
  server = await startServerEverything()
  plane = scriptedControlPlane()
  plane.mcpServers = [
    {
      id: 'everything',
      url: server.url,
      toolAllowRegex: null,
      toolDenyRegex: '^get-env$',
      inject: false,
      needsToken: false,
    },
  ]
  bridge = await startBridge(plane)
})
afterAll(async () => {
  await bridge.close()
  await server.close()
})

describe.each(mcpClients)('%s', (_, connect) => {
  let client: McpClient
  beforeAll(async () => {
    client = await connect(`${bridge.url}/mcp/everything`, { authorization: `Bearer ${testKey}` })
  })
  afterAll(() => client.close())

  test('a client uses server-everything, a public server, through the endpoint', async () => {
    const tools = await client.tools()
    expect(tools).toContain('echo')
    expect(tools).not.toContain('get-env')
    await expect(client.call('get-env', 'x')).rejects.toThrow('is not offered')
    const { isError } = await client.call('get-tiny-image', 'x')
    expect(isError).toBe(false)
  })

  test('a client hears the progress of a long tool of server-everything', async () => {
    let heard = 0
    const args = { duration: 0.3, steps: 3 }
    const { text } = await client.call('trigger-long-running-operation', 'x', { args, onprogress: () => void heard++ })
    expect(text).toContain('completed')
    expect(heard).toBeGreaterThan(0)
    await eventually(async () => expect(plane.stored('toolUsage').at(-1)?.tool).toBe('trigger-long-running-operation'))
  })

  test('a client ends its session at server-everything', async () => {
    await client.terminate()
    expect(client.sessionId()).toBeUndefined()
  })
})
