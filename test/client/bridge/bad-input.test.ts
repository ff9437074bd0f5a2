import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BridgeDaemonOptions } from '../../../client/bridge/daemon.js'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import { eventually } from '../../fixtures/eventually.js'
import {
  createGate,
  eventStream,
  hangUp,
  json,
  raw,
  type StandInProvider,
  stall,
  startProvider,
} from '../../fixtures/provider.js'
import { anthropicProvider, begin, type RunningBridge, send, startBridge } from './running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from './scripted-control-plane.js'

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge

async function start(limits: Partial<BridgeLimits> = {}, options: Partial<BridgeDaemonOptions> = {}): Promise<void> {
  bridge = await startBridge(plane, { outboxFlushMs: 50, ...limits }, testKey, options)
}

beforeEach(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane([anthropicProvider(provider.url)])
})
afterEach(async () => {
  await bridge.close()
  await provider.close()
  expect(provider.unexpected).toBe(0)
})

const usage = { input_tokens: 5, output_tokens: 1 }
const firstEvent = `data: ${JSON.stringify({ type: 'message_start', message: { id: 'msg_1', usage } })}\n\n`
const streamHead = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
const chunked = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

/** Resolves with the only end of an interception. */
async function recordedEnd() {
  await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(1))
  return plane.stored('interceptionEnded')[0]
}

describe('a provider', () => {
  test('a provider that rejects the connection gives 502', async () => {
    const gone = await startProvider()
    await gone.close()
    plane.providers = [anthropicProvider(gone.url)]
    await start()
    const response = await send(bridge)
    expect(response.status).toBe(502)
    const message = 'the provider could not be reached (ECONNREFUSED)'
    expect(JSON.parse(response.body.toString())).toEqual({ type: 'error', error: { type: 'api_error', message } })
    expect(await recordedEnd()).toMatchObject({ errorType: 'unreachable', errorMessage: message })
    expect(plane.stored('promptUsage')).toHaveLength(1)
    // The log names the address; a stack would add nothing.
    const cause = expect.stringMatching(/ECONNREFUSED 127\.0\.0\.1:\d+/)
    const facts = { status: 502, rejection: 'provider_failed', address: '127.0.0.1' }
    const fields = { reason: message, cause, provider: 'anthropic', ...facts }
    expect(bridge.log).toContainEqual({ level: 'error', message: 'a request failed', fields })
  })

  test('a provider that closes the connection without a response gives 502', async () => {
    await start()
    provider.respondWith(hangUp)
    const response = await send(bridge)
    expect([response.status, response.body.toString()]).toEqual([502, expect.stringContaining('without a response')])
    expect(await recordedEnd()).toMatchObject({ errorType: 'unknown' })
  })

  test('a provider that sends no HTTP gives 502, and its bytes are in no log', async () => {
    await start()
    provider.respondWith(raw('SSH-2.0-MARKED\r\n'))
    expect((await send(bridge)).status).toBe(502)
    const shown = bridge.log.map(({ fields }) => inspect(fields, { depth: null, showHidden: true }))
    expect(shown.join()).toMatch(/HTTPParserError/)
    expect(shown.join()).not.toMatch(/MARKED|4d 41 52 4b/)
    const errorMessage = expect.stringContaining('(HTTPParserError)')
    expect(await recordedEnd()).toMatchObject({ errorType: 'unknown', errorMessage })
  })

  test('a provider that sends too many headers gives 502', async () => {
    await start()
    provider.respondWith(raw(`HTTP/1.1 200 OK\r\n${'X-Bomb: boom\r\n'.repeat(5_000)}Content-Length: 0\r\n\r\n`))
    expect((await send(bridge)).status).toBe(502)
  })

  test('a provider that does not begin to respond gives 504', async () => {
    await start({ upstreamHeadersTimeoutMs: 20 })
    provider.respondWith(stall)
    const response = await send(bridge)
    expect(response.status).toBe(504)
    const message = 'the provider did not begin to respond within 20 ms'
    expect(JSON.parse(response.body.toString())).toEqual({ type: 'error', error: { type: 'timeout_error', message } })
    expect(await recordedEnd()).toMatchObject({ errorType: 'timeout', errorMessage: message })
    await (await provider.call(0)).closed
  })

  test('a provider that falls silent inside a stream is cut off, and its usage is recorded', async () => {
    await start({ upstreamIdleTimeoutMs: 20 })
    provider.respondWith(raw(streamHead + chunked(firstEvent), 'stall'))
    const response = await send(bridge)
    expect([response.status, response.body.toString(), response.whole]).toEqual([200, firstEvent, false])
    expect(await recordedEnd()).toMatchObject({ errorType: 'timeout' })
    expect(plane.stored('tokenUsage')).toMatchObject([{ msgId: 'msg_1', inputTokens: 5, outputTokens: 1 }])
    await (await provider.call(0)).closed
  })

  test('a provider that keeps sending is not cut off, however long the response takes', async () => {
    const limitMs = 1_000
    await start({ upstreamIdleTimeoutMs: limitMs })
    provider.respondWith(async response => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      // Each write is one packet in a turn of the event loop; all writes take longer than the limit on silence.
      for (const begun = performance.now(); performance.now() - begun < 1.5 * limitMs; ) {
        response.write(': alive\n\n')
        await new Promise(resolve => setImmediate(resolve))
      }
      response.end(`${firstEvent}data: {"type":"message_stop"}\n\n`)
    })
    const response = await send(bridge)
    expect(response.whole).toBe(true)
    expect(await recordedEnd()).not.toHaveProperty('errorType')
  })

  test.each(['end', 'reset'] as const)(
    'a provider that dies inside a stream (%s) leaves an error and its usage',
    async end => {
      await start()
      provider.respondWith(raw(streamHead + chunked(firstEvent), end))
      const response = await send(bridge)
      expect([response.status, response.body.toString(), response.whole]).toEqual([200, firstEvent, false])
      expect(await recordedEnd()).toMatchObject({
        errorType: 'unknown',
        errorMessage: expect.stringContaining('inside its response'),
      })
      expect(plane.stored('tokenUsage')).toMatchObject([{ msgId: 'msg_1', inputTokens: 5, outputTokens: 1 }])
    },
  )

  test('a provider that dies inside a blocking response leaves an error', async () => {
    await start()
    provider.respondWith(raw('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"id":'))
    const response = await send(bridge)
    expect([response.body.toString(), response.whole]).toEqual(['{"id":', false])
    expect(await recordedEnd()).toMatchObject({ errorType: 'unknown' })
  })

  test('a provider that dies inside an unrecorded response cuts off the client', async () => {
    await start()
    provider.respondWith(raw(streamHead + chunked('{"data":'), 'reset'))
    const response = await send(bridge, { method: 'GET', path: '/bridge/anthropic/v1/models' })
    expect([response.body.toString(), response.whole]).toEqual(['{"data":', false])
  })

  test('an HTTP/1.0 client gets a reset when the provider dies inside a stream', async () => {
    await start()
    const gate = createGate()
    provider.respondWith(async response => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(firstEvent)
      await gate.opened
      response.socket?.resetAndDestroy()
    })
    const socket = await connected()
    socket.write(`POST /bridge/anthropic/v1/messages HTTP/1.0\r\nX-Api-Key: ${testKey}\r\nContent-Length: 2\r\n\r\n{}`)
    await once(socket, 'data')
    const failed = once(socket, 'error')
    gate.open()
    expect(await failed).toMatchObject([{ code: 'ECONNRESET' }])
  })

  test('a stream without its last event counts as failed', async () => {
    await start()
    provider.respondWith(eventStream(firstEvent))
    expect((await send(bridge)).whole).toBe(true)
    expect(await recordedEnd()).toMatchObject({
      errorType: 'unknown',
      errorMessage: 'the response ended before it was complete',
    })
  })

  test('a redirect of a provider is not followed', async () => {
    await start()
    provider.respondWith(json('', 302, { location: `${provider.url}/v1/messages` }))
    expect((await send(bridge)).status).toBe(302)
    expect(provider.calls).toHaveLength(1)
  })

  test('unreadable events pass without a lost byte', async () => {
    await start({ maxInspectedBytes: 1_000 })
    const large = `data: ${JSON.stringify({ type: 'message_delta', usage: { output_tokens: 7 }, pad: 'x'.repeat(2_000) })}\n\n`
    const garbage = 'data: {"type":"message_delta","usage":{"output_tokens":-1e999}}\n\ndata: \0\xff{\n\nevent\n\n\n\n'
    const text = `${firstEvent}${large}${garbage}data: {"type":"message_stop"}\n\n`
    provider.respondWith(eventStream(text))
    expect((await send(bridge)).body.toString()).toBe(text)
    expect(plane.stored('tokenUsage')).toMatchObject([{ inputTokens: 5, outputTokens: 7 }])
    provider.respondWith(json({ id: 'msg_2', pad: 'x'.repeat(2_000) }))
    expect((await send(bridge)).status).toBe(200)
    expect(plane.stored('interceptionEnded')).toHaveLength(2)
  })

  test.each([true, false])(
    'usage that is nested thousands of levels deep passes, with recordContent %j',
    async recordContent => {
      bridge = await startBridge(plane, { outboxFlushMs: 50 }, testKey, { recordContent })
      const deep = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`
      const text = `{"id":"msg_1","usage":{"input_tokens":5,"output_tokens":1,"more":${deep}}}`
      provider.respondWith(json(text))
      const response = await send(bridge)
      expect(response.whole).toBe(true)
      expect(response.body.equals(Buffer.from(text))).toBe(true)
      expect(await recordedEnd()).not.toHaveProperty('errorType')
      expect(plane.stored('tokenUsage')).toMatchObject([{ inputTokens: 5, outputTokens: 1 }])
    },
  )
})

describe('a client', () => {
  test('a client that disconnects inside a stream ends the call, and the usage is recorded', async () => {
    await start()
    provider.respondWith(eventStream(`${firstEvent}data: x\n\n`, { 1: createGate() }))
    const response = await begin(bridge)
    await once(response, 'data')
    response.destroy()
    await (await provider.call(0)).closed
    expect(await recordedEnd()).toMatchObject({ errorType: 'client_closed', errorMessage: 'the client disconnected' })
    expect(plane.stored('tokenUsage')).toMatchObject([{ inputTokens: 5, outputTokens: 1 }])
  })

  test('a client that disconnects before the response ends the call', async () => {
    await start()
    provider.respondWith(stall)
    const socket = await connected()
    socket.write(requestText('{}'))
    const call = await provider.call(0)
    socket.destroy()
    await call.closed
    expect(await recordedEnd()).toMatchObject({ errorMessage: 'the client disconnected' })
  })

  test('a client that disconnects while its interception is recorded never reaches the provider, and the interception ends', async () => {
    const gate = createGate()
    const reached = createGate()
    let first = true
    plane.before = async path => {
      if (path !== 'recorder.recordInterception' || !first) return
      first = false
      reached.open()
      await gate.opened
    }
    await start()
    const socket = await connected()
    socket.write(requestText('{}'))
    await reached.opened
    socket.destroy()
    expect(await recordedEnd()).toMatchObject({ errorMessage: 'the client disconnected' })
    gate.open()
    expect(provider.calls).toHaveLength(0)
  })

  test('a client that disconnects inside its body leaves no record', async () => {
    await start()
    const socket = await connected()
    socket.write(requestText('{}').replace('Content-Length: 2', 'Content-Length: 20'))
    await eventually(() => expect(plane.calls).toContain('authorizer.isAuthorized'))
    socket.destroy()
    await eventually(() =>
      expect(bridge.log).toContainEqual(
        expect.objectContaining({ message: 'the client disconnected before the response began' }),
      ),
    )
    expect(provider.calls).toHaveLength(0)
    expect(plane.records).toHaveLength(0)
  })

  test.each([
    ['two lengths', requestText('{}').replace('Content-Length: 2', 'Content-Length: 2\r\nContent-Length: 3')],
    [
      'a length and chunks',
      requestText('{}').replace('Content-Length: 2', 'Content-Length: 2\r\nTransfer-Encoding: chunked'),
    ],
    ['a header bomb', requestText('{}').replace('Content-Length', `${'X-Bomb: boom\r\n'.repeat(5_000)}Content-Length`)],
    ['no HTTP', '\x16\x03\x01\x02\x00\x01\x00'],
  ])('a client that sends %s is rejected, and the next one is served', async (_, text) => {
    await start()
    const socket = await connected()
    socket.write(text)
    const [response] = (await once(socket, 'data')) as [Buffer] // by the event's definition
    expect(response.toString()).toMatch(/^HTTP\/1\.1 4\d\d /)
    provider.respondWith(json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(200)
    expect(provider.calls).toHaveLength(1)
  })

  test('text that no database stores is recorded cleaned and passed on unchanged', async () => {
    await start()
    provider.respondWith(
      json({ id: 'm\0\ud800', content: [{ type: 'tool_use', id: 't\0', name: 'n\0', input: { '\0': '\ud800' } }] }),
    )
    const body = JSON.stringify({ model: 'm\0', messages: [{ role: 'user', content: 'a\0b\ud800c' }] })
    expect((await send(bridge, { body })).status).toBe(200)
    expect(provider.calls[0]?.body.toString()).toBe(body)
    expect(plane.stored('interception')).toMatchObject([{ model: 'm\uFFFD' }])
    expect(plane.stored('promptUsage')).toMatchObject([{ prompt: 'a\uFFFDb\uFFFDc', msgId: 'm\uFFFD\uFFFD' }])
    expect(plane.stored('toolUsage')).toMatchObject([{ toolCallId: 't\uFFFD', tool: 'n\uFFFD' }])
  })

  test('content that is longer than a record is cut, never rejected', async () => {
    await start()
    const long = 'ä'.repeat(700_000)
    const details = { pad: 'x'.repeat(100_000) }
    const content = [
      { type: 'thinking', thinking: long },
      { type: 'tool_use', id: long, name: long, input: { long } },
    ]
    provider.respondWith(
      json({
        id: long,
        content,
        usage: { input_tokens: 1e300, output_tokens: -5, cache_read_input_tokens: 1.5, ...details },
      }),
    )
    const headers = {
      'x-api-key': testKey,
      'user-agent': 'claude/'.padEnd(5_000, 'x'),
      'x-claude-code-session-id': 's'.repeat(5_000),
    }
    const messages = [
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: long },
          { type: 'text', text: long },
        ],
      },
    ]
    expect((await send(bridge, { headers, body: JSON.stringify({ model: long, messages }) })).status).toBe(200)
    await recordedEnd()
    expect(plane.stored('interception')[0]).toMatchObject({ model: 'ä'.repeat(256), client: 'Claude Code' })
    expect(plane.stored('tokenUsage')).toMatchObject([
      { inputTokens: 1e12, cacheReadInputTokens: 1, metadata: { estimated: true } },
    ])
    expect(plane.stored('promptUsage')).toMatchObject([
      { prompt: 'ä'.repeat(524_288), metadata: { original_bytes: { prompt: 1_400_000 } } },
    ])
    expect(plane.stored('modelThought')).toMatchObject([{ metadata: { original_bytes: { content: 1_400_000 } } }])
    expect(plane.stored('toolUsage')).toMatchObject([{ metadata: { original_bytes: { input: 1_400_011 } } }])
  })

  test.each([
    '{}',
    '{"model":7,"messages":{}}',
    '{"model":null,"messages":[null],"metadata":[]}',
    '{"messages":[{"role":"user","content":[null,{"type":"text"},{"type":"tool_result"}]}],"metadata":{"user_id":{}}}',
    '{"__proto__":{"model":"x"},"constructor":1}',
  ])('a request with %s passes: only the provider judges its meaning', async body => {
    await start()
    provider.respondWith(json({ type: 'error', error: { type: 'invalid_request_error', message: 'no' } }, 400))
    expect((await send(bridge, { body })).status).toBe(400)
    expect(provider.calls[0]?.body.toString()).toBe(body)
    expect(plane.stored('interception')).toMatchObject([{ model: 'unknown' }])
    expect(plane.stored('promptUsage')).toHaveLength(0)
  })
})

describe('shutting down', () => {
  test('a closing bridge lets requests in flight end, rejects new ones with 503 and records all', async () => {
    const origin = 'https://app.example.com'
    await start({}, { allowedOrigins: [origin] })
    const gate = createGate()
    provider.respondWith(eventStream(`${firstEvent}data: {"type":"message_stop"}\n\n`, { 1: gate }))
    const response = await begin(bridge)
    await once(response, 'data')
    const closing = bridge.daemon.close({ graceMs: 10_000 })
    expect(bridge.daemon.close({ graceMs: 0 })).toBe(closing)
    const rejected = await send(bridge, { headers: { 'x-api-key': testKey, origin } })
    expect(rejected.headers['access-control-allow-origin']).toBe(origin)
    expect([rejected.status, rejected.headers['retry-after'], rejected.headers.connection]).toEqual([503, '1', 'close'])
    expect(JSON.parse(rejected.body.toString())).toEqual({
      type: 'error',
      error: { type: 'api_error', message: 'the bridge is shutting down' },
    })
    const ended = once(response, 'end')
    response.resume()
    gate.open()
    await ended
    await closing
    expect(plane.stored('interceptionEnded')[0]).not.toHaveProperty('errorType')
    expect(plane.stored('tokenUsage')).toHaveLength(1)
  })

  test('requests in flight are aborted at the deadline, at any point, and their usage is recorded', async () => {
    const neverRecorded = createGate()
    let interceptions = 0
    plane.before = async path => {
      if (path === 'recorder.recordInterception' && ++interceptions === 3) await neverRecorded.opened
    }
    await start({ outboxFlushMs: 5_000 })
    provider.respondWith(raw(streamHead + chunked(firstEvent), 'stall'), stall)
    const streaming = send(bridge)
    await provider.call(0)
    const waiting = send(bridge)
    await provider.call(1)
    const recording = send(bridge)
    await eventually(() => expect(interceptions).toBe(3))
    const uploading = await connected()
    uploading.write(requestText('{}').replace('Content-Length: 2', 'Content-Length: 20'))
    await eventually(() => expect(bridge.log).toEqual([]))
    const closing = bridge.daemon.close({ graceMs: 0 })
    expect(await streaming).toMatchObject({ status: 200, whole: false })
    expect(await waiting).toMatchObject({ status: 503 })
    expect(await recording).toMatchObject({ status: 503 })
    await closing
    const ends = plane.stored('interceptionEnded')
    expect(ends.map(end => end.errorMessage)).toEqual(Array.from({ length: 3 }, () => 'the bridge is shutting down'))
    expect(plane.stored('tokenUsage')).toHaveLength(1)
  })

  test('a client that leaves while its request is recorded is no error, and its interception ends', async () => {
    const gate = createGate()
    let begun = 0
    plane.before = async path => {
      if (path === 'recorder.recordInterception' && ++begun === 1) await gate.opened
    }
    await start()
    const socket = await connected()
    const body = '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
    socket.write(requestText(body))
    await eventually(() => expect(begun).toBe(1))
    socket.destroy()
    await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(1))
    gate.open()
    expect(bridge.log.filter(({ level }) => level === 'error')).toEqual([])
    expect(provider.calls).toHaveLength(0)
  })

  test('a closed bridge leaves no timer and no socket', async () => {
    const before = resources()
    await start()
    provider.respondWith(eventStream(`${firstEvent}data: {"type":"message_stop"}\n\n`), hangUp)
    await send(bridge)
    await send(bridge)
    await bridge.close()
    // Sockets close in a later turn of the event loop; a socket that stays open ends in the time limit of the test.
    while (resources().length > before.length) await new Promise(setImmediate)
  })

  test('an outbox that cannot be emptied logs the lost records', async () => {
    plane.before = path => {
      if (path.startsWith('recorder.') && path !== 'recorder.recordInterception') throw new Error('no connection')
    }
    await start({ outboxFlushMs: 20 })
    provider.respondWith(json({ id: 'msg_1' }))
    expect((await send(bridge)).status).toBe(200)
    await bridge.daemon.close({ graceMs: 0 })
    expect(bridge.log.at(-1)).toMatchObject({
      level: 'error',
      fields: { left: 2, kinds: { promptUsage: 1, interceptionEnded: 1 } },
    })
  })
})

test('a handler behind another server rejects paths outside /bridge/', async () => {
  await start()
  const server = createServer(bridge.daemon.handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || !address) throw new Error('not listening')
  const response = await send({ url: `http://127.0.0.1:${address.port}` }, { path: '/elsewhere' })
  expect([response.status, response.body.toString()]).toEqual([
    404,
    expect.stringContaining('route not supported: POST /elsewhere'),
  ])
  server.closeAllConnections()
  server.close()
})

/** Returns the active resources, except for those of the test's own client and server. */
function resources(): string[] {
  return process.getActiveResourcesInfo().filter(name => name === 'Timeout' || name === 'TCPSocketWrap')
}

function requestText(body: string): string {
  return `POST /bridge/anthropic/v1/messages HTTP/1.1\r\nHost: x\r\nX-Api-Key: ${testKey}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

async function connected(): Promise<Socket> {
  const socket = connect(Number(new URL(bridge.url).port), '127.0.0.1')
  await once(socket, 'connect')
  return socket
}
