import { afterAll, beforeAll, expect, test } from 'vitest'
import { createServerDirectory, type ServerDirectory } from '../../../../client/bridge/mcp/server-directory.js'
import { createToolClient, type ToolClient } from '../../../../client/bridge/mcp/tool-client.js'
import { bridgeLimits } from '../../../../shared/contract/limits.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { type ServerEverything, startServerEverything } from '../../../fixtures/mcp/server-everything.js'
import { memoryLogger } from '../running-bridge.js'
import { scriptedControlPlane } from '../scripted-control-plane.js'

const userId = '0198c5d4-0000-7000-8000-000000000001'
let server: ServerEverything
let directory: ServerDirectory
let client: ToolClient
const { logger, lines } = memoryLogger()

beforeAll(async () => {
  server = await startServerEverything()
  const plane = scriptedControlPlane()
  const { url } = server
  plane.mcpServers = [{ id: 'everything', url, toolAllowRegex: null, toolDenyRegex: null, inject: true }]
  plane.mcpTokens.set('everything', { token: 'token' })
  directory = createServerDirectory({ client: plane, logger, limits: { ...bridgeLimits, mcpMaxUsers: 10 } })
  client = createToolClient({ directory, logger })
})
afterAll(async () => {
  await client.close()
  directory.close()
  await server.close()
})

async function call(bareName: string, args: JsonObject = {}) {
  const tools = await client.listTools(userId)
  const tool = tools.find(each => each.bareName === bareName) ?? expect.fail(`no tool ${bareName}`)
  return client.call({ userId, conversation: 'c', tool, arguments: args })
}

test('the tools of server-everything are listed, and called with results of all kinds', async () => {
  const tools = await client.listTools(userId)
  expect(tools.length).toBeGreaterThan(8)
  for (const { fullName, inputSchema } of tools) {
    expect(fullName).toMatch(/^bmcp_everything_[A-Za-z0-9_-]+$/)
    expect(inputSchema.type).toBe('object')
  }
  expect(await call('echo', { message: 'hello' })).toMatchObject({
    isError: false,
    parts: [{ type: 'text', text: 'Echo: hello' }],
  })
  expect(await call('get-sum', { a: 2, b: 3 })).toMatchObject({ parts: [{ text: expect.stringContaining('5') }] })
  const { parts: image } = await call('get-tiny-image')
  expect(image.map(({ type }) => type)).toContain('image')
  expect(await call('get-structured-content', { location: 'New York' })).toMatchObject({ isError: false })
  expect(await call('get-resource-links', { count: 2 })).toMatchObject({ isError: false })
  expect(await call('get-sum', { a: 'no number', b: 3 })).toMatchObject({ isError: true })
  expect(lines).toEqual([])
})

test('a long tool of server-everything that reports progress comes to its end', async () => {
  const result = await call('trigger-long-running-operation', { duration: 0.5, steps: 5 })
  expect(result).toMatchObject({ isError: false, parts: [{ text: expect.stringContaining('completed') }] })
})
