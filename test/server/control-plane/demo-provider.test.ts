import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Anthropic, { APIError } from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDemoProvider } from '../../../server/control-plane/demo-provider.js'

let server: Server
let url = ''
beforeAll(async () => {
  server = createServer(createDemoProvider('/demo', { chunkDelayMs: 1 }))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (typeof address === 'object' && address) url = `http://127.0.0.1:${address.port}/demo`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const client = () => new Anthropic({ apiKey: 'any', baseURL: url, maxRetries: 0 })
const ask = { model: 'demo', max_tokens: 500, messages: [{ role: 'user' as const, content: 'one two three' }] }

describe('the official SDK', () => {
  test('the official SDK gets a message', async () => {
    const message = await client().messages.create(ask)
    expect(message).toMatchObject({ type: 'message', role: 'assistant', model: 'demo', stop_reason: 'end_turn' })
    const [block] = message.content
    expect(block?.type === 'text' && block.text).toContain('You wrote 3 words: “one two three”')
    expect(message.usage.input_tokens).toBeGreaterThan(0)
    expect(message.usage.output_tokens).toBeGreaterThan(10)
  })

  test('streams the same message in several events', async () => {
    const stream = client().messages.stream(ask)
    let deltas = 0
    stream.on('text', () => deltas++)
    const streamed = await stream.finalMessage()
    const blocking = await client().messages.create(ask)
    expect(deltas).toBeGreaterThan(5)
    expect(streamed).toMatchObject({
      content: blocking.content,
      stop_reason: blocking.stop_reason,
      usage: blocking.usage,
    })
  })

  test('the official SDK is cut at max_tokens', async () => {
    const message = await client().messages.create({ ...ask, max_tokens: 3 })
    expect(message).toMatchObject({ stop_reason: 'max_tokens', usage: { output_tokens: 3 } })
    expect(
      await client()
        .messages.stream({ ...ask, max_tokens: 3 })
        .finalMessage(),
    ).toMatchObject({
      content: message.content,
      stop_reason: 'max_tokens',
    })
  })

  test('counts tokens, system prompt and content blocks included', async () => {
    const { input_tokens: short } = await client().messages.countTokens(ask)
    const content = [{ type: 'text' as const, text: 'x'.repeat(400) }]
    const { input_tokens: long } = await client().messages.countTokens({
      model: 'demo',
      system: 'x'.repeat(400),
      messages: [{ role: 'user', content }],
    })
    expect(short).toBe(8)
    expect(long).toBe(204)
  })

  test('lists models', async () => {
    expect((await client().models.list()).data).toMatchObject([{ id: 'demo' }])
    expect(await client().models.retrieve('demo')).toMatchObject({ id: 'demo' })
  })

  test.each<[string, object, number, string]>([
    ['no messages', { messages: [] }, 400, 'invalid_request_error'],
    ['no model', { model: '' }, 400, 'invalid_request_error'],
    ['max_tokens of zero', { max_tokens: 0 }, 400, 'invalid_request_error'],
    ['content that is a number', { messages: [{ role: 'user', content: 5 }] }, 400, 'invalid_request_error'],
  ])('the official SDK gets a typed error for %s', async (_, change, status, type) => {
    const call = client().messages.create({ ...ask, ...change })
    const error: unknown = await call.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(APIError)
    expect(error).toMatchObject({ status, error: { type: 'error', error: { type } } })
  })
})

test.each([
  ['GET', '/v1/messages', 404, undefined],
  ['POST', '/v1/nonsense', 404, '{}'],
  ['GET', '/v1/models/other', 404, undefined],
  ['POST', '/v1/messages', 400, '{'],
  ['POST', '/v1/messages', 400, ''],
  ['POST', '/v1/messages', 400, 'null'],
])('%s %s answers %d in the shape of Anthropic', async (method, path, status, body) => {
  const response = await fetch(url + path, { method, ...(body !== undefined && { body }) })
  expect(response.status).toBe(status)
  expect(await response.json()).toMatchObject({
    type: 'error',
    error: { type: status === 404 ? 'not_found_error' : 'invalid_request_error', message: expect.any(String) },
    request_id: response.headers.get('request-id'),
  })
})

test('a prompt of nothing but hostile characters is echoed', async () => {
  const content = '\0\ud800 <script> \u202e'
  const message = await client().messages.create({ ...ask, messages: [{ role: 'user', content }] })
  expect(JSON.stringify(message)).toContain('<script>')
})

test('a response names the command that shows the record, as the server gives it at that moment, or none', async () => {
  const texts: string[] = []
  let command: string | undefined = 'node cli.js interceptions list --port 4200'
  const named = createServer(createDemoProvider('', { chunkDelayMs: 0, listCommand: () => command }))
  named.listen(0, '127.0.0.1')
  await once(named, 'listening')
  const { port } = named.address() as AddressInfo // listening on TCP
  const { messages } = new Anthropic({ apiKey: 'any', baseURL: `http://127.0.0.1:${port}`, maxRetries: 0 })
  for (command of [command, undefined]) {
    const { content } = await messages.create(ask)
    texts.push(content[0]?.type === 'text' ? content[0].text : '')
  }
  named.closeAllConnections()
  named.close()
  expect(texts[0]).toMatch(/; this command shows it: node cli\.js interceptions list --port 4200$/)
  expect(texts[1]).toMatch(/The request was recorded\.$/)
})

test('a client that leaves ends the stream', async () => {
  const abort = new AbortController()
  const response = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    body: JSON.stringify({ ...ask, stream: true }),
    signal: abort.signal,
  })
  await response.body?.getReader().read()
  abort.abort()
  // The server still answers: nothing was thrown where nobody catches.
  expect((await fetch(`${url}/v1/models`)).status).toBe(200)
})
