/** The official SDK's client against this server, over HTTP and over WebSocket. */
import { client } from '@agentclientprotocol/sdk'
import { createHttpStream } from '@agentclientprotocol/sdk/experimental/http-client'
import { createWebSocketStream } from '@agentclientprotocol/sdk/experimental/ws-client'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { startAcp } from '../../fixtures/acp/acp-server.js'
import { duplexOf, sdkAgent } from '../../fixtures/acp/sdk-agent.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'

leavesNothing()

describe.each([
  ['HTTP', (url: string) => createHttpStream(url)],
  ['WebSocket', (url: string) => createWebSocketStream(url.replace('http', 'ws'), { WebSocket: WebSocket as never })],
] as const)('the official client over %s', (_, streamOf) => {
  test('a conversation runs from initialize to load', async () => {
    const { url, acp, ends, rejections } = await startAcp({ agent: () => duplexOf(sdkAgent()) })
    const texts: string[] = []
    const app = client()
      .onNotification('session/update', ({ params: { update } }) => {
        if ('content' in update && update.content && 'text' in update.content) texts.push(update.content.text)
      })
      .onRequest('session/request_permission', () => ({ outcome: { outcome: 'selected', optionId: 'yes' } }))
    const connection = app.connect(streamOf(url))
    const { agent } = connection
    const initialized = await agent.request('initialize', { protocolVersion: 1 })
    expect(initialized).toMatchObject({ protocolVersion: 1 })
    const { sessionId } = await agent.request('session/new', { cwd: '/', mcpServers: [] })
    const prompt = (text: string) => agent.request('session/prompt', { sessionId, prompt: [{ type: 'text', text }] })
    expect(await prompt('one two three')).toMatchObject({ stopReason: 'end_turn' })
    expect(texts.splice(0)).toEqual(['one', 'two', 'three'])
    expect(await prompt('ask')).toMatchObject({ stopReason: 'end_turn' })
    const waiting = prompt('wait')
    await expect.poll(() => texts).toContain('wait')
    await agent.notify('session/cancel', { sessionId })
    expect(await waiting).toMatchObject({ stopReason: 'cancelled' })
    texts.length = 0
    await agent.request('session/load', { sessionId, cwd: '/', mcpServers: [] })
    await expect.poll(() => texts).toEqual(['as before'])
    expect(acp.connections).toBe(1)
    connection.close()
    await expect.poll(() => acp.connections).toBe(0)
    expect({ ends, rejections }).toEqual({ ends: [expect.stringMatching('deleted|closed')], rejections: [] })
  })
})
