/** Chats of the built server: by commands, behind a killed server, and as sessions of the official ACP client. */
import { Readable, Writable } from 'node:stream'
import { client, ndJsonStream } from '@agentclientprotocol/sdk'
import { createHttpStream } from '@agentclientprotocol/sdk/experimental/http-client'
import { createWebSocketStream } from '@agentclientprotocol/sdk/experimental/ws-client'
import { afterEach, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { CreatedApiKey } from '../../shared/contract/admin/api-keys.js'
import type { ChatList } from '../../shared/contract/chats.js'
import { cleanUp, dataDirectory, follow, run, runJson, startAcpConnect, startServe } from './process.js'

// A server's start takes seconds on a busy machine.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 })
afterEach(cleanUp)

async function serveWithUser(args: string[] = []) {
  const dataDir = await dataDirectory()
  const server = await startServe(dataDir, { args })
  await run(['users', 'create', 'ada', ...server.flags])
  const { key } = await runJson<CreatedApiKey>(['keys', 'create', '--user', 'ada', ...server.flags])
  return { dataDir, server, key, env: { AIBRIDGE_KEY: key }, at: ['--port', server.port] }
}

test('a chat with the demo provider streams, is listed, and is recorded for its user', async () => {
  const { server, env, at } = await serveWithUser()
  const begun = await run(['chats', 'new', 'Say hello', ...at], { env })
  expect(begun).toMatchObject({ code: 0, stderr: '' })
  expect(begun.stdout).toMatch(/^[0-9a-f-]{36}\nThis is the demo provider/)
  const { chats } = await runJson<ChatList>(['chats', 'list', ...at], { env })
  const [chat] = chats
  expect(chat).toMatchObject({ provider: 'demo', status: 'waiting' })
  const sent = await run(['chats', 'send', chat?.id ?? '', 'And again', ...at], { env })
  expect(sent.stdout).toContain('And again')
  const watched = await run(['chats', 'watch', chat?.id ?? '', ...at], { env })
  expect(watched.stdout.match(/^> .*/gm)).toEqual(['> Say hello', '> And again'])
  type Listed = { interceptions: { clientSessionId: string; username: string }[] }
  const { interceptions } = await runJson<Listed>(['interceptions', 'list', ...server.flags])
  expect(interceptions.map(({ clientSessionId, username }) => [clientSessionId, username])).toEqual([
    [chat?.id, 'ada'],
    [chat?.id, 'ada'],
  ])
})

test('a chat whose server is killed in the middle of a response is answered by the next one, once', async () => {
  const { dataDir, server, env, at } = await serveWithUser()
  const watching = follow(['chats', 'new', 'Say hello', '--json', ...at], env)
  const chat: { id: string } = JSON.parse(await watching.line())
  for (;;) if (JSON.parse(await watching.line()).kind === 'message_part') break
  server.kill('SIGKILL')
  await server.exited
  await startServe(dataDir, { args: at })
  const watched = await run(['chats', 'watch', chat.id, ...at], { env })
  expect(watched).toMatchObject({ code: 0 })
  const shown = await runJson<{ messages: { role: string; interrupted: boolean }[] }>(
    ['chats', 'show', chat.id, ...at],
    {
      env,
    },
  )
  expect(shown.messages.map(({ role, interrupted }) => [role, interrupted])).toEqual([
    ['user', false],
    ['assistant', false],
  ])
  watching.kill('SIGKILL')
})

test('a turn that a draining server cuts off at the end of its grace is taken over at once, and answered once', async () => {
  const { dataDir, server, env, at } = await serveWithUser(['--grace-ms', '1'])
  const watching = follow(['chats', 'new', 'Say hello', '--json', ...at], env)
  const chat: { id: string } = JSON.parse(await watching.line())
  for (;;) if (JSON.parse(await watching.line()).kind === 'message_part') break
  server.kill('SIGTERM')
  await server.exited
  watching.kill('SIGKILL')
  await startServe(dataDir, { args: at })
  // The lease of a server that was killed has most of its 30 s left.
  const begun = performance.now()
  expect(await run(['chats', 'watch', chat.id, ...at], { env })).toMatchObject({ code: 0 })
  expect(performance.now() - begun).toBeLessThan(15_000)
  type Shown = { messages: { role: string; interrupted: boolean }[] }
  const { messages } = await runJson<Shown>(['chats', 'show', chat.id, ...at], { env })
  expect(messages.map(({ role, interrupted }) => [role, interrupted])).toEqual([
    ['user', false],
    ['assistant', false],
  ])
})

test('the official ACP client talks with a chat over HTTP, over WebSocket and on stdio', async () => {
  const { server, key } = await serveWithUser()
  const headers = { authorization: `Bearer ${key}` }
  const url = `${server.url}/acp`
  const streams = [
    () => createHttpStream(url, { headers }),
    () => createWebSocketStream(url.replace('http', 'ws'), { headers, WebSocket: WebSocket as never }),
    () => {
      const { stdin, stdout } = startAcpConnect(url, { BRIDGE_ACP_KEY: key })
      return ndJsonStream(Writable.toWeb(stdin), Readable.toWeb(stdout) as ReadableStream<Uint8Array>) // one class, declared twice
    },
  ]
  let earlier = ''
  for (const streamOf of streams) {
    const texts: string[] = []
    const app = client().onNotification('session/update', ({ params: { update } }) => {
      if ('content' in update && update.content && 'text' in update.content) texts.push(update.content.text)
    })
    const connection = app.connect(streamOf())
    const { agent } = connection
    expect(await agent.request('initialize', { protocolVersion: 1 })).toMatchObject({
      protocolVersion: 1,
      agentInfo: { name: 'aibridge' },
    })
    const { sessionId } = await agent.request('session/new', { cwd: '/', mcpServers: [] })
    const prompt = (text: string) => agent.request('session/prompt', { sessionId, prompt: [{ type: 'text', text }] })
    expect(await prompt('one')).toMatchObject({ stopReason: 'end_turn' })
    expect(texts.splice(0).join('')).toContain('“one”')
    const cancelled = prompt('two')
    await expect.poll(() => texts.length).toBeGreaterThan(0)
    await agent.notify('session/cancel', { sessionId })
    expect(await cancelled).toMatchObject({ stopReason: 'cancelled' })
    texts.length = 0
    await agent.request('session/load', { sessionId, cwd: '/', mcpServers: [] })
    await expect.poll(() => texts.join('')).toMatch(/^oneThis is the demo provider.*two/s)
    // Over HTTP the client opens the stream of the session before, which is a 404.
    const unknown = agent.request('session/load', { sessionId: 'unknown', cwd: '/', mcpServers: [] })
    await expect(unknown).rejects.toThrow(/no session of (yours|this user)/)
    // The session of the transport before is there too.
    if (earlier !== '') {
      texts.length = 0
      await agent.request('session/load', { sessionId: earlier, cwd: '/', mcpServers: [] })
      await expect.poll(() => texts.join('')).toMatch(/^one/)
    }
    earlier = sessionId
    connection.close()
  }
})

test('an agent key, a daemon key and no key open no chats at /acp', async () => {
  const { server } = await serveWithUser()
  const agent = await runJson<{ key: string }>(['agents', 'create', '--name', 'a', '--user', 'ada', ...server.flags])
  const daemon = await runJson<{ key: string }>(['daemon-keys', 'create', ...server.flags])
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: 1 } })
  for (const key of [agent.key, daemon.key, undefined]) {
    const headers = { 'content-type': 'application/json', ...(key !== undefined && { authorization: `Bearer ${key}` }) }
    expect((await fetch(`${server.url}/acp`, { method: 'POST', headers, body })).status).toBe(401)
  }
})
