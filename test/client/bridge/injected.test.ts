/** Tools of an MCP server in the requests of clients, on every control plane and in every API. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type Anthropic from '@anthropic-ai/sdk'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { ControlPlane } from '../../../client/bridge/control-plane/control-plane.js'
import type { JsonObject } from '../../../shared/values/text.js'
import { type Responder, recorded } from '../../fixtures/provider.js'
import { thinkingError } from '../../fixtures/signed-thinking.js'
import { readTxtar, sectionOf } from '../../fixtures/txtar.js'
import { conversationsBesideProject } from './apis.js'
import { bridged } from './bridged.js'
import { controlPlanes } from './control-planes.js'
import { blocksOf, bodyOf, eventsOf, type MeantBlock, type MeantRound } from './injection/anthropic-provider.js'
import { oldServer, type ToolServer } from './mcp/tool-servers.js'
import { type RunningBridge, send, startBridge } from './running-bridge.js'

const coderTools = [
  'coder_list_workspaces',
  'coder_list_templates',
  'coder_template_version_parameters',
  'coder_get_authenticated_user',
  'coder_create_workspace_build',
  'coder_delete_template',
]

function coder(): Promise<ToolServer> {
  return oldServer((server, seen) => {
    for (const name of coderTools) {
      const inputSchema = { owner: z.string().optional(), template_version_id: z.string().optional() }
      server.registerTool(name, { description: `does ${name}`, inputSchema }, () => {
        seen.push(name)
        return { content: [{ type: 'text', text: 'mock' }] }
      })
    }
  })
}

interface Row {
  folder: string
  mode: 'streaming' | 'non-streaming'
  path: string
  tool: string
  input: string
  prompt: string
  /** input, output, cache read, cache write: the sum over both calls */
  tokens: [number, number, number, number]
}

const anthropic = {
  folder: 'anthropic',
  path: '/bridge/anthropic/v1/messages',
  tool: 'coder_list_workspaces',
  input: '{"owner":"admin"}',
  prompt: 'list coder workspace IDs for admin',
}
const chat = { ...anthropic, folder: 'openai/chatcompletions', path: '/bridge/openai/v1/chat/completions' }

/** As in the README beside the recorded conversations. */
const rows: Row[] = [
  { ...anthropic, mode: 'streaming', tokens: [15308, 202, 0, 0] },
  { ...anthropic, mode: 'non-streaming', tokens: [15308, 204, 0, 0] },
  { ...chat, mode: 'streaming', tokens: [5047, 105, 4864, 0] },
  { ...chat, mode: 'non-streaming', tokens: [5047, 105, 4864, 0] },
  {
    folder: 'openai/responses/blocking',
    mode: 'non-streaming',
    path: '/bridge/openai/v1/responses',
    tool: 'coder_template_version_parameters',
    input: '{"template_version_id":"aa4e30e4-a086-4df6-a364-1343f1458104"}',
    prompt: expect.any(String),
    tokens: [839, 306, 12288, 0],
  },
  {
    folder: 'openai/responses/streaming',
    mode: 'streaming',
    path: '/bridge/openai/v1/responses',
    tool: 'coder_list_templates',
    input: '{}',
    prompt: 'List my coder templates.',
    tokens: [6588, 200, 6144, 0],
  },
]

describe.each(controlPlanes())('with $name', ({ start }) => {
  const the = bridged(start)
  let server: ToolServer

  beforeEach(async () => {
    server = await coder()
    await the.plane.injectFrom('coder', server.url)
  })

  describe.skipIf(!existsSync(conversationsBesideProject))('the recorded conversation', () => {
    test.each(rows)('$folder, $mode', async ({ folder, mode, path, tool, input, prompt, tokens }) => {
      const txtar = readTxtar(join(conversationsBesideProject, folder, 'single_injected_tool.txtar'))
      the.provider.respondWith(recorded(sectionOf(txtar, mode)), recorded(sectionOf(txtar, `${mode}/tool-call`)))
      const request: JsonObject = JSON.parse(sectionOf(txtar, 'request'))
      const body = JSON.stringify({ ...request, stream: mode === 'streaming' })
      const response = await send(the.bridge, { path, body, headers: { 'x-api-key': the.plane.key } })
      expect([response.status, response.whole]).toEqual([200, true])
      // The snapshots of Responses repeat the tools of the request; calls are hidden.
      const shown = response.body.toString().replace(/"tools":\s*\[.*?\],\s*"top_/gs, '"top_')
      expect(shown.match(/bmcp_\w+/g)).toBeNull()
      expect(server.seen.filter(name => name.startsWith('coder_'))).toEqual([tool])
      const [first, second] = the.provider.calls.map(call => call.body.toString())
      expect(first?.match(/"bmcp_coder_\w+"/g)).toHaveLength(coderTools.length)
      expect(second).toContain('mock')
      const [record] = await the.recordedOf(1)
      expect(record?.prompts).toMatchObject([{ prompt }])
      const names = ['inputTokens', 'outputTokens', 'cacheReadInputTokens', 'cacheWriteInputTokens']
      const sum = (name: string) => record?.tokens.reduce((all, one) => all + Number(Reflect.get(one, name)), 0)
      expect(names.map(sum)).toEqual(tokens)
      expect(record?.tokens).toHaveLength(2)
      expect(record?.tools).toMatchObject([
        { tool, input, injected: true, serverUrl: server.url, metadata: { duration_ms: expect.any(Number) } },
      ])
      expect(Reflect.get(record?.end ?? {}, 'errorType') ?? null).toBeNull()
    })
  })

  /** Takes requests as the provider does: thinking that is not where it was written is rejected. */
  const model: Responder = (response, { body }) => {
    const request: JsonObject = JSON.parse(body.toString())
    const error = thinkingError(request)
    if (error !== undefined) {
      response.writeHead(400, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ type: 'error', error: { type: 'invalid_request_error', message: error } }))
      return
    }
    const messages = request.messages as JsonObject[] // written by the SDK
    const hasResult = JSON.stringify(messages.at(-1)).includes('tool_result')
    const call: MeantBlock = { is: 'call', name: 'bmcp_coder_coder_list_templates', input: { owner: 'me' } }
    const thinking: MeantBlock = { is: 'thinking', text: `about message ${messages.length}` }
    const blocks: MeantBlock[] = hasResult ? [thinking, { is: 'text', text: 'Done.' }] : [thinking, call]
    const usage = { input_tokens: 10, output_tokens: 5 }
    const round: MeantRound = { blocks, stopReason: hasResult ? 'end_turn' : 'tool_use', usage }
    const id = `m${messages.length}`
    const own = blocksOf(request, round, id)
    const isStream = request.stream === true
    response.writeHead(200, { 'content-type': isStream ? 'text/event-stream' : 'application/json' })
    response.end(isStream ? eventsOf(own, round, id).join('') : bodyOf(own, round, id))
  }

  /** Holds a conversation with the SDK; `bridgeOf` chooses the bridge of each turn. */
  async function converse(turns: number, bridgeOf: (turn: number) => Promise<RunningBridge>): Promise<void> {
    const messages: Anthropic.MessageParam[] = []
    for (let turn = 0; turn < turns; turn++) {
      messages.push({ role: 'user', content: `Question ${turn}?` })
      const { sdk } = await bridgeOf(turn)
      const params = { model: 'm', max_tokens: 99, system: 'Be brief.', messages }
      const { content } =
        turn % 2 === 0 ? await sdk.messages.stream(params).finalMessage() : await sdk.messages.create(params)
      expect(content.map(block => block.type)).toEqual(['thinking', 'thinking', 'text'])
      messages.push({ role: 'assistant', content })
    }
  }

  test('ten turns with signed thinking are accepted, by two bridges in turn and behind a restart', async () => {
    the.provider.respondWith(...Array.from({ length: 20 }, () => model))
    const connect = () => startBridge(the.plane.client, {}, the.plane.key)
    let other = await connect()
    onTestFinished(() => other.close())
    await converse(10, async turn => {
      if (turn === 5) {
        await other.close()
        other = await connect()
      }
      return turn % 3 === 0 ? the.bridge : other
    })
    expect(server.seen.filter(name => name === 'coder_list_templates')).toHaveLength(10)
    const records = await the.recordedOf(10)
    expect(records.map(({ tokens, tools }) => [tokens.length, tools.length])).toEqual(
      Array.from({ length: 10 }, () => [2, 1]),
    )
  })

  test('signed thinking is rejected when the hidden calls are left out', async () => {
    the.provider.respondWith(...Array.from({ length: 3 }, () => model))
    const open = { query: async () => ({ tools: null, turns: [], next: null }) }
    const conversations = Object.create(the.plane.client.conversations, { open: { value: open } })
    const forgetful: ControlPlane = Object.create(the.plane.client, { conversations: { value: conversations } })
    const bridge = await startBridge(forgetful, {}, the.plane.key)
    onTestFinished(() => bridge.close())
    await expect(converse(2, async () => bridge)).rejects.toThrow('Invalid `signature`')
  })

  test('a call ends after the time that the daemon is set to', async () => {
    await the.plane.injectFrom('slow', (await oldServer()).url)
    const bridge = await startBridge(the.plane.client, { mcpCallTimeoutMs: 200 }, the.plane.key)
    onTestFinished(() => bridge.close())
    const usage = { input_tokens: 10, output_tokens: 5 }
    const respond =
      (block: MeantBlock, stopReason: string): Responder =>
      (response, { body }) => {
        const round = { blocks: [block], stopReason, usage }
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(bodyOf(blocksOf(JSON.parse(body.toString()), round, stopReason), round, stopReason))
      }
    the.provider.respondWith(
      respond({ is: 'call', name: 'bmcp_slow_wait', input: {} }, 'tool_use'),
      respond({ is: 'text', text: 'Done.' }, 'end_turn'),
    )
    await bridge.sdk.messages.create({ model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'Wait.' }] })
    const [{ tools } = { tools: [] }] = await the.recordedOf(1)
    expect(tools).toMatchObject([{ tool: 'wait', invocationError: 'timed_out: no response within 200 ms' }])
  })
})
