/** `acp serve` and `acp connect` as processes: the official SDK's client at one end, its agent at the other. */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { client, ndJsonStream } from '@agentclientprotocol/sdk'
import { afterEach, expect, test, vi } from 'vitest'
import { createAcpClient } from '../../client/acp/acp-client.js'
import { AcpPeer, promptOf } from '../fixtures/acp/acp-peer.js'
import { isAlive } from '../fixtures/acp/is-alive.js'
import { cleanUp, run, startAcpConnect, startAcpServe, temporaryDirectory } from './process.js'

// A process takes a second to start, more on a busy machine.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })
afterEach(cleanUp)

const key = 'a-key-of-the-operator'
const script = resolve('test/fixtures/acp/stdio-agent.mjs')

async function serving(args: readonly string[] = []) {
  const pidFile = join(await temporaryDirectory(), 'pids')
  await writeFile(pidFile, '')
  const server = await startAcpServe([...args, '--', process.execPath, script, pidFile], { BRIDGE_ACP_KEY: key })
  const pids = () => readFileSync(pidFile, 'utf8').trim().split('\n').filter(Boolean).map(Number)
  return { server, pids }
}

function editorOf({ stdin, stdout }: ReturnType<typeof startAcpConnect>) {
  const updates: Record<string, unknown>[] = []
  const app = client()
    .onNotification('session/update', ({ params }) => void updates.push({ ...params.update }))
    // An editor that never responds.
    .onRequest('session/request_permission', () => new Promise(() => {}))
  const { agent } = app.connect(
    ndJsonStream(Writable.toWeb(stdin), Readable.toWeb(stdout) as ReadableStream<Uint8Array>),
  ) // one class, declared twice
  const texts = () =>
    updates.flatMap(update => (update.content ? String(Reflect.get(Object(update.content), 'text')) : []))
  return { agent, updates, texts }
}

const webSocketUrlOf = ({ url }: { url: string }) => url.replace('http', 'ws')
const prompt = (sessionId: string, text: string) => ({ sessionId, prompt: [{ type: 'text' as const, text }] })

test('an editor on stdio works with a remote agent over HTTP and WebSocket, and its end ends agent and commands', async () => {
  const { server, pids } = await serving()
  const converse = async (url: string) => {
    const connect = startAcpConnect(url, { BRIDGE_ACP_KEY: key })
    const { agent, updates, texts } = editorOf(connect)
    expect(await agent.request('initialize', { protocolVersion: 1 })).toMatchObject({ protocolVersion: 1 })
    const { sessionId } = await agent.request('session/new', { cwd: '/', mcpServers: [] })
    await agent.request('session/prompt', prompt(sessionId, 'say:one two three'))
    expect(texts()).toEqual(['one', 'two', 'three'])

    const asking = agent.request('session/prompt', prompt(sessionId, 'ask'))
    await agent.notify('session/cancel', { sessionId })
    expect(await asking).toMatchObject({ stopReason: 'cancelled' })
    const tool = agent.request('session/prompt', prompt(sessionId, 'tool'))
    await expect.poll(() => texts().at(-1)).toBe('waiting')
    await agent.notify('session/cancel', { sessionId })
    expect(await tool).toMatchObject({ stopReason: 'cancelled' })
    expect(updates.at(-1)).toEqual({ sessionUpdate: 'tool_call_update', toolCallId: 'call-1', status: 'failed' })
    await agent.request('session/load', { sessionId, cwd: '/', mcpServers: [] })
    await expect.poll(() => texts().at(-1)).toBe('as before')

    await agent.request('session/prompt', prompt(sessionId, 'spawn'))
    const commandPid = Number(texts().at(-1))
    expect(isAlive(commandPid)).toBe(true)
    connect.stdin.end()
    expect(await connect.exited).toEqual({ code: 0, signal: null })
    return commandPid
  }
  const commands = await Promise.all([server.url, webSocketUrlOf(server)].map(converse))
  await expect.poll(() => [...pids(), ...commands].map(isAlive)).toEqual([false, false, false, false])
  server.kill('SIGTERM')
  expect(await server.exited).toEqual({ code: 0, signal: null })
})

test('acp serve that gets SIGTERM ends its agents and their commands, and exits with 0', async () => {
  const { server, pids } = await serving()
  const remote = createAcpClient({ url: server.url, headers: { authorization: `Bearer ${key}` } })
  const peer = new AcpPeer(remote)
  await peer.request('initialize', { protocolVersion: 1 })
  const { sessionId } = await peer.request('session/new', { cwd: '/', mcpServers: [] })
  await peer.request('session/prompt', promptOf(sessionId, 'spawn'))
  const all = [...pids(), Number(peer.texts[0])]
  expect(all.map(isAlive)).toEqual([true, true])
  server.kill('SIGTERM')
  expect(await server.exited).toEqual({ code: 0, signal: null })
  expect(all.map(isAlive)).toEqual([false, false])
  await remote.close()
})

test('a killed agent ends its connection, and acp serve goes on', async () => {
  const { server, pids } = await serving()
  const connect = startAcpConnect(webSocketUrlOf(server), { BRIDGE_ACP_KEY: key })
  const { agent, texts } = editorOf(connect)
  await agent.request('initialize', { protocolVersion: 1 })
  const { sessionId } = await agent.request('session/new', { cwd: '/', mcpServers: [] })
  const turn = agent.request('session/prompt', prompt(sessionId, 'wait'))
  // A prompt that the agent has not seen would be sent again to the next agent.
  await expect.poll(() => texts()).toEqual(['waiting'])
  const [first = 0] = pids()
  process.kill(first, 'SIGKILL')
  await expect(turn).rejects.toThrow()
  // The session is loaded again, by another agent.
  expect(await agent.request('session/prompt', prompt(sessionId, 'say:again'))).toEqual({ stopReason: 'end_turn' })
  expect(pids()).toHaveLength(2)
  connect.kill('SIGTERM')
  expect(await connect.exited).toEqual({ code: 0, signal: null })
})

test('clients without the key, and pages of other origins, start no agent', async () => {
  const { server, pids } = await serving(['--allowed-origins', 'https://editor.example.com'])
  const initialize = (headers: Record<string, string>) =>
    fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: 1 } }),
    })
  const bearer = { authorization: `Bearer ${key}` }
  expect((await initialize({})).status).toBe(401)
  expect((await initialize({ authorization: 'Bearer another-key-of-20' })).status).toBe(401)
  expect((await initialize({ ...bearer, origin: 'https://evil.example.com' })).status).toBe(403)
  expect(pids()).toEqual([])
  const allowed = await initialize({ ...bearer, origin: 'https://editor.example.com' })
  expect({ status: allowed.status, agents: pids().length }).toEqual({ status: 200, agents: 1 })
  expect(server.stdout() + server.stderr()).not.toContain(key)
})

test('acp connect ends with 1 for a rejected key, with 3 without a server, and prints responses alone on stdout', async () => {
  const { server } = await serving()
  const initialize = `${JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: {} })}\n`
  const rejected = startAcpConnect(server.url, { BRIDGE_ACP_KEY: 'another-key-of-20' })
  rejected.stdin.write(initialize)
  expect(JSON.parse(await text(rejected.stdout))).toMatchObject({ id: 0, error: { data: { reason: 'http_rejected' } } })
  expect((await rejected.exited).code).toBe(1)
  expect(JSON.parse(rejected.stderr().trim().split('\n').at(-1) ?? '')).toMatchObject({ code: 'UNAUTHORIZED' })
  const alone = startAcpConnect('http://127.0.0.1:1/acp')
  alone.stdin.write(initialize)
  expect(JSON.parse(await text(alone.stdout))).toMatchObject({ id: 0, error: { data: { reason: 'unreachable' } } })
  expect((await alone.exited).code).toBe(3)
  expect(await run(['acp', 'connect', 'nonsense'])).toMatchObject({ code: 1, stdout: '' })
})

test('a server without a key makes one, and prints it once', async () => {
  const server = await startAcpServe(['--', 'true'])
  const [, made = ''] = /key (\S{32})\n/.exec(server.stdout()) ?? []
  expect((await fetch(server.url, { headers: { authorization: `Bearer ${made}` } })).status).not.toBe(401)
  expect((await fetch(server.url)).status).toBe(401)
  expect(server.stderr()).not.toContain(made)
})
