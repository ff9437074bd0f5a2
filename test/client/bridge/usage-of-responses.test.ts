/** What is recorded of the tokens of a response, and how a bridge comes by them, through the real front door. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import { eventually } from '../../fixtures/eventually.js'
import {
  createGate,
  eventStream,
  json,
  type Responder,
  raw,
  type StandInProvider,
  startProvider,
} from '../../fixtures/provider.js'
import { anthropicProvider, begin, openaiProvider, type RunningBridge, send, startBridge } from './running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from './scripted-control-plane.js'

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge

async function start(limits: Partial<BridgeLimits> = {}, settings: object = {}): Promise<void> {
  plane.providers = [anthropicProvider(provider.url), openaiProvider(provider.url, { settings: { ...settings } })]
  bridge = await startBridge(plane, { outboxFlushMs: 50, ...limits })
}

beforeEach(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane()
})
afterEach(async () => {
  await bridge.close()
  await provider.close()
  expect(provider.unexpected).toBe(0)
})

const headers = { 'x-api-key': testKey }
const chat = { path: '/bridge/openai/v1/chat/completions', headers, body: '{"model":"m","stream":true,"messages":[]}' }
const messages = { path: '/bridge/anthropic/v1/messages', headers, body: '{"model":"m","messages":[]}' }

const data = (...events: (object | string)[]) =>
  events.map(event => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`)
const chunk = (content: string, finish_reason: string | null = null) => ({
  id: 'c',
  choices: [{ index: 0, delta: { content }, finish_reason }],
})
const usageChunk = { id: 'c', choices: [], usage: { prompt_tokens: 90, completion_tokens: 4 } }

async function recorded() {
  await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(1))
  const [end] = plane.stored('interceptionEnded')
  const usages = plane.stored('tokenUsage').map(({ inputTokens, outputTokens, metadata }) => ({
    counts: [inputTokens, outputTokens],
    estimated: metadata?.estimated ?? false,
  }))
  return { errorType: end?.errorType, usages }
}

describe('a response that ends without its usage', () => {
  const [text = '', last = ''] = data(chunk('0123456789'), chunk('', 'stop'))
  const requestTokens = Math.ceil(chat.body.length / 4)
  const estimate = [{ counts: [requestTokens, 3], estimated: true }]

  test('a response that ends without its usage is estimated where the provider sends none', async () => {
    await start()
    provider.respondWith(eventStream(`${text}${last}data: [DONE]\n\n`))
    await send(bridge, chat)
    expect(await recorded()).toEqual({ errorType: undefined, usages: estimate })
  })

  test('a response that ends without its usage is estimated where the connection is cut', async () => {
    await start()
    const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n'
    provider.respondWith(raw(head + text))
    await send(bridge, chat)
    expect(await recorded()).toEqual({ errorType: 'unknown', usages: estimate })
  })

  test('a response that ends without its usage is estimated where the client leaves', async () => {
    await start()
    provider.respondWith(eventStream(`${text}${last}`, { 1: createGate() }))
    const response = await begin(bridge, chat)
    response.once('data', () => response.destroy())
    expect(await recorded()).toEqual({ errorType: 'client_closed', usages: estimate })
  })

  test('a response that ends without its usage is estimated from the bytes of a blocking response that is cut', async () => {
    await start()
    const body = '{"id":"msg_1","content":[{"type":"text","text":"hello'
    provider.respondWith(raw(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n${body}`))
    await send(bridge, messages)
    const counts = [Math.ceil(messages.body.length / 4), Math.ceil(body.length / 4)]
    expect(await recorded()).toEqual({ errorType: 'unknown', usages: [{ counts, estimated: true }] })
  })

  test('a response that ends without its usage is not estimated where the provider reports an error, responds with an error, or sends a foreign body', async () => {
    await start()
    const error = { error: { message: 'no', type: 'server_error' } }
    const page = '<!doctype html><title>Just a moment...</title>'
    provider.respondWith(
      eventStream(text + data(error).join('')),
      json(error, 500),
      raw(`HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: ${page.length}\r\n\r\n${page}`),
    )
    for (const errorType of ['server_error', 'server_error', 'unknown']) {
      await send(bridge, chat)
      expect(await recorded()).toEqual({ errorType, usages: [] })
      plane.forget()
    }
  })
})

describe('a client that leaves when it has the whole response', () => {
  const sent = data(chunk('hi'), chunk('', 'stop'), usageChunk, '[DONE]')

  test('a client that leaves when it has the whole response has succeeded, and the usage that follows is recorded', async () => {
    await start()
    const gate = createGate()
    provider.respondWith(eventStream(sent.join(''), { 2: gate }))
    const response = await begin(bridge, chat)
    let received = ''
    await new Promise<void>(resolve => {
      response.on('data', (part: Buffer) => {
        received += part
        if (!received.includes('"stop"')) return
        response.destroy()
        resolve()
      })
    })
    gate.open()
    expect(await recorded()).toEqual({ errorType: undefined, usages: [{ counts: [90, 4], estimated: false }] })
  })

  test('a client that leaves when it has the whole response has succeeded where the usage does not follow in time', async () => {
    await start({ drainMs: 30 })
    provider.respondWith(eventStream(sent.join(''), { 2: createGate() }))
    const response = await begin(bridge, chat)
    let received = ''
    response.on('data', (part: Buffer) => {
      received += part
      if (received.includes('"stop"')) response.destroy()
    })
    expect(await recorded()).toMatchObject({ errorType: undefined, usages: [{ estimated: true }] })
    await (await provider.call(0)).closed
  })
})

describe('a request for usage that the client did not make', () => {
  const rejection = json({ error: { message: "Unknown parameter: 'stream_options'.", code: 'unknown_parameter' } }, 400)
  const good = eventStream(data(chunk('hi', 'stop'), '[DONE]').join(''))
  const asked = () => provider.calls.map(({ body }) => body.toString().includes('include_usage'))

  test.each([400, 422])(
    'a request for usage that is rejected with %i is made once more without it, and not again for an hour',
    async status => {
      await start()
      const no = json({ error: { message: 'no' } }, status)
      provider.respondWith(no, good, good)
      const first = await send(bridge, chat)
      expect([first.status, first.body.toString()]).toEqual([200, data(chunk('hi', 'stop'), '[DONE]').join('')])
      await send(bridge, chat)
      expect(asked()).toEqual([true, false, false])
      expect(provider.calls[1]?.body.toString()).toBe(chat.body)
    },
  )

  test.each<[string, Responder]>([
    ['is cut short', raw('HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\n{"error":')],
    [
      'never ends',
      response => {
        response.writeHead(400, { 'content-type': 'application/json' }).write('{"error":')
      },
    ],
    ['is compressed', json(gzipSync('{}').toString('latin1'), 400, { 'content-encoding': 'gzip' })],
    ['is empty', json('', 400)],
  ])('a request for usage is made once more without it when the body of the rejection %s', async (_, no) => {
    await start()
    provider.respondWith(no, good)
    expect((await send(bridge, chat)).body.toString()).toBe(data(chunk('hi', 'stop'), '[DONE]').join(''))
    expect(asked()).toEqual([true, false])
  })

  test.each([
    [200, false],
    [401, false],
    [429, false],
    [500, false],
    [400, true],
    [422, true],
  ])('a request for usage whose repeat gets %i is made again later: %s', async (status, again) => {
    await start()
    provider.respondWith(rejection, status === 200 ? good : json({ error: { message: 'no' } }, status), good)
    expect((await send(bridge, chat)).status).toBe(status)
    await send(bridge, chat)
    expect(asked()).toEqual([true, false, again])
  })

  test('a request for usage that is rejected for another model is made for this one', async () => {
    await start()
    provider.respondWith(rejection, good, good)
    await send(bridge, chat)
    await send(bridge, { ...chat, body: chat.body.replace('"m"', '"other"') })
    expect(asked()).toEqual([true, false, true])
  })

  test('a request for usage is not blamed for a request that the provider rejects either way', async () => {
    await start()
    provider.respondWith(rejection, json({ error: { message: 'bad request' } }, 400), good)
    const { status, body } = await send(bridge, chat)
    expect([status, body.toString()]).toEqual([400, '{"error":{"message":"bad request"}}'])
    await send(bridge, chat)
    expect(asked()).toEqual([true, false, true])
  })

  /** A body with the request for usage is sent in pieces, any other whole; both kinds behave alike. */
  const large = (stream: boolean) => ({
    ...chat,
    body: JSON.stringify({ model: 'm', stream, messages: [{ role: 'user', content: 'x'.repeat(20_000_000) }] }),
  })

  test.each([true, false])('a large body reaches the provider whole (streamed: %s)', async stream => {
    await start()
    provider.respondWith(json({}))
    const request = large(stream)
    expect((await send(bridge, request)).status).toBe(200)
    const asked = ',"stream_options":{"include_usage":true}}'
    expect(provider.calls[0]?.body.equals(Buffer.from(stream ? request.body.slice(0, -1) + asked : request.body))).toBe(
      true,
    )
  })

  test.each([true, false])('a provider that cannot be reached gives 502 (streamed: %s)', async stream => {
    await start()
    await provider.close()
    expect((await send(bridge, large(stream))).status).toBe(502)
    expect(bridge.log.filter(({ level }) => level === 'error').map(({ message }) => message)).toEqual([
      'a request failed',
    ])
    provider = await startProvider()
  })

  test.each([true, false])('a provider that dies inside the upload gives 502 (streamed: %s)', async stream => {
    const server = createServer(socket => {
      socket.once('data', () => socket.resetAndDestroy())
      socket.on('error', () => {})
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo // listening on TCP
    plane.providers = [openaiProvider(`http://127.0.0.1:${port}`)]
    bridge = await startBridge(plane, { outboxFlushMs: 50 })
    expect((await send(bridge, large(stream))).status).toBe(502)
    await new Promise(resolve => server.close(resolve))
  })

  test.each([true, false])(
    'a client that leaves while the provider takes no body ends the call (streamed: %s)',
    async stream => {
      const sockets: Socket[] = []
      const server = createServer(socket => {
        sockets.push(socket.pause().on('error', () => {}))
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo // listening on TCP
      plane.providers = [openaiProvider(`http://127.0.0.1:${port}`)]
      bridge = await startBridge(plane, { outboxFlushMs: 50 })
      const leaving = new AbortController()
      const response = fetch(`${bridge.url}${chat.path}`, { method: 'POST', ...large(stream), signal: leaving.signal })
      await eventually(() => expect(plane.stored('interception')).toHaveLength(1))
      leaving.abort()
      await expect(response).rejects.toThrow()
      await eventually(() => expect(plane.stored('interceptionEnded')[0]?.errorType).toBe('client_closed'))
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  )

  test('a request for usage is never made where the provider has the setting `never`, and usage that comes is hidden', async () => {
    await start({}, { includeUsage: 'never' })
    provider.respondWith(eventStream(data(chunk('hi', 'stop'), usageChunk, '[DONE]').join('')))
    const { body } = await send(bridge, chat)
    expect(asked()).toEqual([false])
    expect(body.toString()).toBe(data(chunk('hi', 'stop'), '[DONE]').join(''))
    expect(await recorded()).toMatchObject({ usages: [{ counts: [90, 4] }] })
  })

  test.each<[string, object]>([
    ['an empty list of choices', usageChunk],
    ['no choices', { id: 'c', usage: usageChunk.usage }],
    ['choices of null', { ...usageChunk, choices: null }],
  ])('a request for usage has its chunk with %s hidden', async (_, usage) => {
    await start()
    provider.respondWith(eventStream(data(chunk('hi', 'stop'), usage, '[DONE]').join('')))
    const { body } = await send(bridge, chat)
    expect(body.toString()).toBe(data(chunk('hi', 'stop'), '[DONE]').join(''))
    expect(await recorded()).toMatchObject({ usages: [{ counts: [90, 4], estimated: false }] })
  })
})

describe('a model call that is no conversation', () => {
  test('a compaction is recorded with its tokens and without a prompt', async () => {
    await start()
    const output = [{ type: 'compaction', id: 'cmp_1', encrypted_content: 'x' }]
    const usage = { input_tokens: 192_000, output_tokens: 900, total_tokens: 192_900 }
    provider.respondWith(json({ id: 'resp_1', object: 'response.compaction', output, usage }))
    const request = { path: '/bridge/openai/v1/responses/compact', headers, body: '{"model":"m","input":"hello"}' }
    expect((await send(bridge, request)).status).toBe(200)
    expect(await recorded()).toEqual({ errorType: undefined, usages: [{ counts: [192_000, 900], estimated: false }] })
    expect(plane.stored('promptUsage')).toEqual([])
  })

  test('embeddings are recorded with their tokens and without a prompt', async () => {
    await start()
    const usage = { prompt_tokens: 8, total_tokens: 8 }
    const item = { object: 'embedding', index: 0, embedding: [0.1, 0.2] }
    provider.respondWith(json({ object: 'list', data: [item], model: 'm-1', usage }))
    const request = { path: '/bridge/openai/v1/embeddings', headers, body: '{"model":"m","input":["a","b"]}' }
    expect((await send(bridge, request)).status).toBe(200)
    expect(await recorded()).toEqual({ errorType: undefined, usages: [{ counts: [8, 0], estimated: false }] })
    expect(plane.stored('promptUsage')).toEqual([])
  })
})
