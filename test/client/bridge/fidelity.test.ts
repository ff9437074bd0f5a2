import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Outbox } from '../../../client/bridge/outbox/outbox.js'
import {
  createGate,
  eventStream,
  eventsOf,
  type Gate,
  json,
  type Responder,
  raw,
  type StandInProvider,
  startProvider,
} from '../../fixtures/provider.js'
import { apiRows } from './apis.js'
import { anthropicProvider, begin, openaiProvider, type RunningBridge, send, startBridge } from './running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from './scripted-control-plane.js'

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge

beforeEach(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane([
    anthropicProvider(`${provider.url}/base/path/`),
    openaiProvider(`${provider.url}/base/path`),
  ])
  bridge = await startBridge(plane)
})
afterEach(async () => {
  await bridge.close()
  await provider.close()
  expect(provider.unexpected).toBe(0)
})

const key = { 'x-api-key': testKey }
const jsonType = { 'content-type': 'application/json' }
const eventStreamType = { 'content-type': 'text/event-stream' }

/** A body that no parser reproduces: layout, numbers, escapes, duplicates, and an unknown field. */
const oddities =
  '\r\n{ "model" : "m", "big": 12345678901234567890, "x": 1.0, "dup": 1, "dup": 2,\t"messages":[],"input":"","é\\u00e9":"\\ud83c"'

describe.each(apiRows)('$name', ({ path, upstreamPath, name, provider: type }) => {
  const providerOf = type === 'openai' ? openaiProvider : anthropicProvider
  const chunked = { 'transfer-encoding': 'chunked' }

  test.each(['', ',"stream":false', ',"stream":true,"stream_options":{"include_usage":true}'])(
    'a request body with %j reaches the provider byte for byte',
    async fields => {
      const body = Buffer.concat([Buffer.from(`${oddities}${fields} }\n`), Buffer.from('  ')])
      provider.respondWith(json({}))
      await send(bridge, { path, body, headers: { ...key, ...chunked } })
      expect(provider.calls[0]?.body.equals(body)).toBe(true)
      expect(provider.calls[0]?.url).toBe(`/base/path${upstreamPath}`)
    },
  )

  test('a streamed request reaches the provider byte for byte, except for the request for usage', async () => {
    provider.respondWith(json({}))
    await send(bridge, { path, body: `${oddities},"stream":true}  `, headers: key })
    const asked = name === 'OpenAI Chat Completions' ? ',"stream_options":{"include_usage":true}' : ''
    const { body, headers } = await provider.call(0)
    expect(body.toString()).toBe(`${oddities},"stream":true${asked}}  `)
    expect(headers['content-length']).toBe(String(body.length))
  })

  test.each<[Record<string, string>, string[]]>([
    [{ 'x-api-key': testKey }, []],
    [{ authorization: `Bearer ${testKey}`, 'x-api-key': 'own', 'api-key': 'own' }, []],
    [{ 'x-bridge-token': testKey, authorization: 'Bearer own' }, ['Bearer own']],
    [{ 'x-bridge-token': testKey, 'x-api-key': 'own', 'api-key': 'own' }, ['own', 'own']],
    [{ 'x-bridge-token': testKey }, []],
  ])('with %j the provider gets one key, the right one', async (headers, own) => {
    provider.respondWith(json({}))
    await send(bridge, { path, body: '{"model":"m"}', headers })
    const sent = (await provider.call(0)).headers
    const [ownKey = ''] = providerOf('').keys
    const ours = type === 'openai' ? [`Bearer ${ownKey}`] : [ownKey]
    const credentials = [sent.authorization, sent['x-api-key'], sent['api-key']].filter(value => value !== undefined)
    expect(credentials).toEqual('x-bridge-token' in headers ? own : ours)
    expect(JSON.stringify(sent)).not.toContain(testKey)
  })
})

describe('usage that the client did not ask for', () => {
  const path = '/bridge/openai/v1/chat/completions'
  const body = '{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}'
  const text = 'data: {"choices":[{"delta":{"content":"é"}}],"usage":null}\r\n\r\n'
  const usage = 'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}\r\n\r\n'
  const rest = 'data: [DONE]\r\n\r\n: é 🎉\n\n'

  test('usage without a request for it is hidden, and every other byte passes at once', async () => {
    const events = [text, text, usage, rest]
    const gates = events.map(() => createGate())
    provider.respondWith(eventStream(events.join(''), Object.fromEntries(gates.entries())))
    gates[0]?.open()
    const response = await begin(bridge, { path, body, headers: key })
    const chunks = response[Symbol.asyncIterator]()
    expect(String((await chunks.next()).value)).toBe(text)
    gates[1]?.open()
    expect(String((await chunks.next()).value)).toBe(text)
    gates[2]?.open()
    gates[3]?.open()
    gates[4]?.open()
    let last = ''
    for await (const chunk of { [Symbol.asyncIterator]: () => chunks }) last += String(chunk)
    expect(last).toBe(rest)
    expect(plane.stored('tokenUsage')).toMatchObject([{ inputTokens: 5, outputTokens: 1 }])
  })

  test('hidden usage is not counted in the length of the response', async () => {
    const response = text + usage + rest
    provider.respondWith(json(response, 200, { 'content-type': 'text/event-stream' }))
    const { headers, body: shown, whole } = await send(bridge, { path, body, headers: key })
    expect([shown.toString(), whole, headers['content-length']]).toEqual([text + rest, true, undefined])
    expect(plane.stored('tokenUsage')).toHaveLength(1)
  })

  test.each([undefined, 'text/plain', 'application/json', 'application/octet-stream', 'application/x-ndjson'])(
    'usage without a request for it is hidden in a stream that is labelled as %s',
    async type => {
      provider.respondWith(async response => {
        response.writeHead(200, type === undefined ? {} : { 'content-type': type })
        for (const event of [text, usage, rest]) response.write(event)
        response.end()
      })
      expect((await send(bridge, { path, body, headers: key })).body.toString()).toBe(text + rest)
      expect(plane.stored('tokenUsage')).toHaveLength(1)
    },
  )

  test('a filter for usage holds back neither comments nor bodies', async () => {
    const gate = createGate()
    const chunks = [': PROCESSING\n', 'data: [DONE]\n\n']
    provider.respondWith(
      async response => {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write(chunks[0])
        await gate.opened
        response.end(chunks[1])
      },
      async response => {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write('{"error":')
        await gate.opened
        response.end('{}}')
      },
    )
    const comment = await begin(bridge, { path, body, headers: key })
    expect(String((await once(comment, 'data'))[0])).toBe(chunks[0])
    const json = await begin(bridge, { path, body, headers: key })
    expect(String((await once(json, 'data'))[0])).toBe('{"error":')
    gate.open()
    await Promise.all([comment, json].map(response => once(response, 'end')))
  })

  test('an error response keeps its length under a filter for usage', async () => {
    provider.respondWith(json({ error: { message: 'no' } }, 404))
    const { headers, body: shown } = await send(bridge, { path, body, headers: key })
    expect(headers['content-length']).toBe(String(shown.length))
  })

  test('usage passes in compressed streams and in responses that are no streams', async () => {
    const response = text + usage + rest
    const compressed = gzipSync(response)
    const whole = { choices: [], usage: { prompt_tokens: 5, completion_tokens: 1 } }
    provider.respondWith(response => {
      const headers = { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }
      response.writeHead(200, { ...headers, 'content-length': compressed.length }).end(compressed)
    }, json(whole))
    const passed = await send(bridge, { path, body, headers: key })
    expect(passed.body.equals(compressed)).toBe(true)
    expect(passed.headers['content-length']).toBe(String(compressed.length))
    expect((await send(bridge, { path, body, headers: key })).body.toString()).toBe(JSON.stringify(whole))
    expect(plane.stored('tokenUsage')).toHaveLength(2)
  })

  test('the received part of an open event is sent when the provider dies', async () => {
    const half = usage.slice(0, 30)
    const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000\r\n\r\n'
    provider.respondWith(raw(head + text + half))
    const response = await send(bridge, { path, body, headers: key })
    expect([response.body.toString(), response.whole]).toEqual([text + half, false])
  })
})

describe('requests', () => {
  test.each([
    ['/v1/models/a%2Fb%20c?limit=1&after_id=%C3%A9&x=/../y', 'GET'],
    ['/v1/models?', 'GET'],
    ['/v1/models', 'HEAD'],
    ['/v1/messages/count_tokens?beta=true', 'POST'],
  ])('%s passes through as written, authorized and without a record', async (path, method) => {
    provider.respondWith(json({ data: [] }))
    const response = await send(bridge, { method, path: `/bridge/anthropic${path}` })
    expect(response.status).toBe(200)
    expect(response.body.toString()).toBe(method === 'HEAD' ? '' : '{"data":[]}')
    expect([provider.calls[0]?.method, provider.calls[0]?.url]).toEqual([method, `/base/path${path}`])
    expect(plane.records).toEqual([])
    expect(plane.calls).toContain('authorizer.isAuthorized')
  })

  test('the query of a bridged request is kept', async () => {
    provider.respondWith(json({}))
    await send(bridge, { path: '/bridge/anthropic/v1/messages?beta=true' })
    expect(provider.calls[0]?.url).toBe('/base/path/v1/messages?beta=true')
  })

  test('request headers pass with their order, case and duplicates, except for those of this hop', async () => {
    provider.respondWith(json({}))
    const { port } = new URL(bridge.url)
    const socket = connect(Number(port), '127.0.0.1')
    await once(socket, 'connect')
    socket.write(
      [
        'POST /bridge/anthropic/v1/messages HTTP/1.1',
        'Host: bridge.example',
        'X-Multi: one',
        'Connection: close, X-Named',
        'x-MULTI: two',
        'X-Named: hop',
        'Keep-Alive: timeout=5',
        'TE: trailers',
        'Proxy-Authorization: Basic eA==',
        'Accept-Encoding: gzip, br',
        'Anthropic-Beta: a',
        'Anthropic-Beta: b',
        `Authorization: Bearer ${testKey}`,
        'X-Latin: caf\xe9',
        'User-Agent: test/1',
        'Content-Length: 2',
        '',
        '{}',
      ].join('\r\n'),
      'latin1',
    )
    const { rawHeaders } = await provider.call(0)
    socket.destroy()
    const pairs = rawHeaders.flatMap((name, index) => (index % 2 === 0 ? [`${name}: ${rawHeaders[index + 1]}`] : []))
    expect(pairs.filter(pair => !/^(host|connection|content-length):/i.test(pair))).toEqual([
      'X-Multi: one',
      'x-MULTI: two',
      'Anthropic-Beta: a',
      'Anthropic-Beta: b',
      'X-Latin: caf\xe9',
      'User-Agent: test/1',
      'accept-encoding: identity',
      'x-bridge-loop: 1',
      'x-api-key: sk-ant-provider-key-0123456789',
    ])
    expect(pairs.filter(pair => /^host:/i.test(pair))).toEqual([`host: ${new URL(provider.url).host}`])
  })
})

describe('responses', () => {
  test('status, reason, headers and body of a response pass verbatim, except for cookies and the headers of this hop', async () => {
    const body = '{"id":"msg_1","x":12345678901234567890}\n\n'
    provider.respondWith(
      raw(
        [
          'HTTP/1.1 207 Quite Unusual',
          'X-Multi: one',
          'x-multi: two',
          'Set-Cookie: a=1',
          'Set-Cookie: b=2',
          'request-id: req_1',
          'Connection: keep-alive, X-Named',
          'X-Named: hop',
          'Keep-Alive: timeout=5',
          `Content-Length: ${body.length}`,
          '',
          body,
        ].join('\r\n'),
      ),
    )
    const response = await send(bridge)
    expect([response.status, response.statusText, response.body.toString()]).toEqual([207, 'Quite Unusual', body])
    expect(response.rawHeaders).toEqual([
      'X-Multi',
      'one',
      'x-multi',
      'two',
      'request-id',
      'req_1',
      'Content-Length',
      String(body.length),
      'Connection',
      'close',
    ])
  })

  test.each([
    [400, 'invalid_request_error', 'bad_request'],
    [401, 'authentication_error', 'unauthorized'],
    [404, 'not_found_error', 'bad_request'],
    [413, 'request_too_large', 'bad_request'],
    [429, 'rate_limit_error', 'rate_limited'],
    [500, 'api_error', 'server_error'],
    [503, 'api_error', 'overloaded'],
    [529, 'overloaded_error', 'overloaded'],
    [418, 'teapot', 'bad_request'],
    [307, 'moved', 'unknown'],
  ])('an error of status %i passes with its body and is recorded', async (status, type, errorType) => {
    const body = JSON.stringify({ type: 'error', error: { type, message: `no: ${status}` }, request_id: 'req_1' })
    provider.respondWith(json(body, status, { 'retry-after': '7', location: `${provider.url}/elsewhere` }))
    const response = await send(bridge)
    expect([response.status, response.body.toString(), response.headers['retry-after']]).toEqual([status, body, '7'])
    expect(plane.stored('promptUsage')).toHaveLength(1)
    expect(plane.stored('tokenUsage')).toHaveLength(0)
    expect(plane.stored('interceptionEnded')).toMatchObject([{ errorType, errorMessage: `no: ${status}` }])
  })

  test('an error that is not JSON passes and is recorded by its status', async () => {
    provider.respondWith(json('<html>Bad gateway</html>', 502, { 'content-type': 'text/html' }))
    expect((await send(bridge)).body.toString()).toBe('<html>Bad gateway</html>')
    expect(plane.stored('interceptionEnded')).toMatchObject([
      { errorType: 'server_error', errorMessage: 'the provider responded with status 502' },
    ])
  })

  test('a stream passes byte for byte, each chunk at once', async () => {
    const text = 'event: x\r\ndata: {"type":"ping"}\r\n\r\n: é 🎉\n\ndata: {"type":"message_stop"}\n\ndata: after\n\n'
    const events = eventsOf(text)
    const gates = events.map(() => createGate())
    provider.respondWith(eventStream(text, Object.fromEntries(gates.entries())))
    gates[0]?.open()
    const response = await begin(bridge)
    const chunks = response[Symbol.asyncIterator]()
    for (const [index, event] of events.entries()) {
      gates[index]?.open()
      expect(String((await chunks.next()).value)).toBe(event)
    }
    expect(await chunks.next()).toEqual({ done: true, value: undefined })
  })

  test('the headers of a stream pass before its first event', async () => {
    const gate = createGate()
    provider.respondWith(eventStream('data: {"type":"message_stop"}\n\n', { 0: gate }), async response => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      await gate.opened
      response.end('data: {"type":"message_stop"}\n\n')
    })
    const first = begin(bridge)
    gate.open()
    await once(await first, 'data')
    const second = await begin(bridge)
    expect(second.statusCode).toBe(200)
    second.resume()
    await once(second, 'end')
  })

  test('a compressed response passes verbatim and is recorded', async () => {
    const body = gzipSync(JSON.stringify({ id: 'msg_1', usage: { input_tokens: 1, output_tokens: 2 } }))
    const stream = gzipSync(
      `data: ${JSON.stringify({ type: 'message_start', message: { id: 'msg_2', usage: { input_tokens: 3, output_tokens: 4 } } })}\n\ndata: {"type":"message_stop"}\n\n`,
    )
    for (const [bytes, type] of [
      [body, 'application/json'],
      [stream, 'text/event-stream'],
      [stream.subarray(0, -12), 'text/event-stream'],
    ] as const) {
      provider.respondWith(response => {
        response.writeHead(200, { 'content-type': type, 'content-encoding': 'gzip' })
        for (const byte of bytes) response.write(Buffer.of(byte))
        response.end()
      })
      const response = await send(bridge)
      expect(response.body.equals(bytes)).toBe(true)
      expect(response.headers['content-encoding']).toBe('gzip')
    }
    expect(plane.stored('tokenUsage')).toMatchObject([
      { msgId: 'msg_1', inputTokens: 1, outputTokens: 2 },
      { msgId: 'msg_2', inputTokens: 3, outputTokens: 4 },
      { msgId: 'msg_2', inputTokens: 3, outputTokens: 4 },
    ])
  })

  test('a response that cannot be decompressed passes verbatim', async () => {
    for (const encoding of ['gzip', 'unheard-of']) {
      provider.respondWith(json('not compressed', 200, { 'content-encoding': encoding }))
      expect((await send(bridge)).body.toString()).toBe('not compressed')
    }
    expect(plane.stored('interceptionEnded')).toHaveLength(2)
  })

  test('a large response passes whole to a slow client', async () => {
    const chunk = Buffer.alloc(256 * 1024, 'x')
    let written = 0
    provider.respondWith(async response => {
      response.writeHead(200, { 'content-type': 'application/json' })
      for (let index = 0; index < 128; index++) {
        written += chunk.length
        if (!response.write(chunk)) await once(response, 'drain')
      }
      response.end()
    })
    const response = await begin(bridge)
    response.pause()
    const { closed } = await provider.call(0)
    let hasResponded = false
    void closed.then(() => {
      hasResponded = true
    })
    // Sockets take a few MiB, then the provider has to wait. Two turns of the event loop without progress show the
    // wait.
    for (let before = -1; before !== written; ) {
      before = written
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    expect(hasResponded).toBe(false)
    let received = 0
    response.on('data', (data: Buffer) => {
      received += data.length
    })
    response.resume()
    await once(response, 'end')
    expect(received).toBe(128 * chunk.length)
  })

  test.each<[string, Record<string, string>, string, string]>([
    ['a body with a length', { ...jsonType, 'content-length': '14' }, '{"id":"m', 'sg_1"}'],
    ['a body without a length', jsonType, '{"id":"msg_1"}', ''],
    ['a stream', eventStreamType, 'data: {"type":"ping"}\n\n', 'data: {"type":"message_stop"}\n\n'],
  ])('the last bytes of %s wait until the outbox has the records', async (_, headers, before, last) => {
    const { outbox, asked, kept } = slowOutbox()
    await bridge.close()
    bridge = await startBridge(plane, {}, testKey, { outbox })
    const arrived = createGate()
    provider.respondWith(
      async response => {
        response.writeHead(200, headers).write(before)
        await arrived.opened
        response.end(last)
      },
      json({ data: [] }),
    )
    const response = await begin(bridge, { headers: key })
    let received = ''
    response.on('data', chunk => {
      received += chunk
      if (received === before) arrived.open()
    })
    await asked.opened
    // All bytes that need no outbox have arrived when another request has ended.
    await send(bridge, { method: 'GET', path: '/bridge/anthropic/v1/models' })
    expect([received, response.complete]).toEqual([before, false])
    kept.open()
    await once(response, 'end')
    expect([received, response.complete]).toEqual([before + last, true])
  })

  test.each<[string, Responder]>([
    ['a body', json({ id: 'msg_1' })],
    [
      'a stream',
      raw(
        `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${[
          'data: {"type":"ping"}\n\n',
          'data: {"type":"message_stop"}\n\n',
          '',
        ]
          .map(chunk => `${chunk.length.toString(16)}\r\n${chunk}\r\n`)
          .join('')}`,
        'end',
      ),
    ],
  ])('%s that arrives in one packet leaves with its headers and end in one packet', async (_, respond) => {
    const { outbox, asked, kept } = slowOutbox()
    await bridge.close()
    bridge = await startBridge(plane, {}, testKey, { outbox })
    provider.respondWith(respond, json({ data: [] }))
    const body = '{"model":"m","messages":[]}'
    const lines = [`x-api-key: ${testKey}`, `content-length: ${body.length}`, 'host: localhost', 'connection: close']
    const client = connect(Number(new URL(bridge.url).port), '127.0.0.1')
    client.write(`POST /bridge/anthropic/v1/messages HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`)
    const packets: string[] = []
    client.on('data', packet => packets.push(String(packet)))
    await asked.opened
    await send(bridge, { method: 'GET', path: '/bridge/anthropic/v1/models' })
    expect(packets).toEqual([])
    kept.open()
    await once(client, 'close')
    expect(packets).toHaveLength(1)
  })
})

/** An outbox that takes the records of a response when `kept` opens. */
function slowOutbox(): { outbox: Outbox; asked: Gate; kept: Gate } {
  const [asked, kept] = [createGate(), createGate()]
  const outbox: Outbox = {
    id: randomUUID(),
    isDurable: false,
    isEmpty: true,
    erase: async () => new Map(),
    hasErased: () => false,
    admit: () => true,
    begin: async () => {},
    note: () => {},
    forget: () => {},
    put() {
      asked.open()
      return kept.opened
    },
    size: 0,
    oldestMs: 0,
    deadLetters: 0,
    flush: async () => {},
    close: async () => ({ left: 0, kept: 0 }),
  }
  return { outbox, asked, kept }
}
