/**
 * The vendors' own rules for gateways, one row each, on a real server. A row names its source and the day on which the
 * source was read: when a vendor changes the rule, the row shows which one.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createGate, eventStream, json } from '../../fixtures/provider.js'
import { begin, type ClientRequest, type ClientResponse, send } from './running-bridge.js'
import { startWholeServer, type WholeServer } from './whole-server.js'

interface Rule {
  rule: string
  /** a page, or a file of a public repository */
  source: string
  /** the day on which the source was read */
  read: string
  check(): Promise<void>
}

let whole: WholeServer
beforeAll(async () => {
  whole = await startWholeServer()
})
afterAll(async () => {
  await whole.close()
  expect(whole.provider.unexpected).toBe(0)
})

const user = () => ({ 'x-api-key': whole.key })
const messages = '/bridge/anthropic/v1/messages'
const responses = '/bridge/openai/v1/responses'
const claudeBody = JSON.stringify({ model: 'claude-x', max_tokens: 9, messages: [{ role: 'user', content: 'hello' }] })
const codexBody = JSON.stringify({ model: 'gpt-x', input: 'hello', stream: true })

/** Sends a request that the provider serves, and returns both ends of it. */
async function exchange(request: ClientRequest, respond = json({})) {
  whole.provider.respondWith(respond)
  const response = await send(whole, { headers: user(), body: claudeBody, path: messages, ...request })
  const call = whole.provider.calls.at(-1)
  if (!call) throw new Error('the provider was not called')
  return { response, call }
}

/** Sends a request that must not reach the provider. */
async function rejected(request: ClientRequest): Promise<ClientResponse> {
  const before = whole.provider.calls.length
  const response = await send(whole, { body: claudeBody, path: messages, ...request })
  expect(whole.provider.calls).toHaveLength(before)
  return response
}

const gatewayGuide = { source: 'https://code.claude.com/docs/en/llm-gateway', read: '2026-11-30' }
const gatewayProtocol = { source: 'https://code.claude.com/docs/en/llm-gateway-protocol', read: '2026-11-30' }

const claudeCode: Rule[] = [
  {
    ...gatewayGuide,
    rule: 'the gateway serves /v1/messages and /v1/messages/count_tokens',
    async check() {
      const main = await exchange({})
      expect([main.response.status, main.call.url]).toEqual([200, '/v1/messages'])
      const count = await exchange({ path: `${messages}/count_tokens?beta=true` }, json({ input_tokens: 7 }))
      expect([count.call.url, count.response.body.toString()]).toEqual([
        '/v1/messages/count_tokens?beta=true',
        '{"input_tokens":7}',
      ])
    },
  },
  {
    ...gatewayProtocol,
    rule: 'anthropic-beta and anthropic-version reach the provider unchanged, in several lines too',
    async check() {
      const betas = ['claude-code-20250219,interleaved-thinking-2025-05-14', 'context-management-2025-06-27']
      const { call } = await exchange({
        headers: { ...user(), 'anthropic-version': '2023-06-01', 'anthropic-beta': betas },
      })
      const lines = call.rawHeaders.filter((_, index, raw) => raw[index - 1]?.toLowerCase() === 'anthropic-beta')
      expect([call.headers['anthropic-version'], lines]).toEqual(['2023-06-01', betas])
    },
  },
  {
    ...gatewayProtocol,
    rule: 'body fields that the gateway does not know, and the attribution block of the system prompt, are unchanged',
    async check() {
      const body = `{"model":"claude-x", "max_tokens":1,"context_management":{"edits":[]},"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.332; cch=00000;"}],\n"speed":"fast","messages":[]}`
      const { call } = await exchange({ body })
      expect(call.body.toString()).toBe(body)
    },
  },
  {
    ...gatewayGuide,
    rule: 'a token in ANTHROPIC_AUTH_TOKEN is a Bearer, a key in ANTHROPIC_API_KEY an X-Api-Key, and both are accepted',
    async check() {
      for (const headers of [{ authorization: `Bearer ${whole.key}` }, { 'x-api-key': whole.key }]) {
        const { response, call } = await exchange({ headers })
        expect([response.status, call.headers['x-api-key']]).toEqual([200, 'sk-ant-provider-key-0123456789'])
      }
    },
  },
  {
    ...gatewayGuide,
    rule: 'model discovery asks GET /v1/models with the same credentials',
    async check() {
      const list = { data: [{ id: 'claude-x', type: 'model' }], has_more: false }
      for (const headers of [{ authorization: `Bearer ${whole.key}` }, { 'x-api-key': whole.key }]) {
        const request = { method: 'GET', path: '/bridge/anthropic/v1/models?limit=1000', headers, body: '' }
        const { response, call } = await exchange(request, json(list))
        expect([call.url, JSON.parse(response.body.toString())]).toEqual(['/v1/models?limit=1000', list])
      }
    },
  },
  {
    ...gatewayProtocol,
    rule: 'the session of X-Claude-Code-Session-Id names the session of the record',
    async check() {
      await exchange({ headers: { ...user(), 'x-claude-code-session-id': 'session-of-a-rule' } })
      expect((await whole.newest()).interception.clientSessionId).toBe('session-of-a-rule')
    },
  },
  {
    source: 'https://code.claude.com/docs/en/authentication',
    read: '2026-11-30',
    rule: 'a key that is not valid gets 401, on which apiKeyHelper runs again',
    async check() {
      const unknown = `${'q'.repeat(10)}-${'q'.repeat(22)}`
      const response = await rejected({ headers: { 'x-api-key': unknown } })
      expect([response.status, JSON.parse(response.body.toString()).error.type]).toEqual([401, 'authentication_error'])
    },
  },
  {
    source: 'Claude Code 2.1.332, its requests at the start',
    read: '2026-11-30',
    rule: 'HEAD / and HEAD /api/hello warm a connection up, without a key',
    async check() {
      for (const path of ['/bridge/anthropic', '/bridge/anthropic/', '/bridge/anthropic/api/hello']) {
        expect((await rejected({ method: 'HEAD', path, headers: {}, body: '' })).status).toBe(200)
      }
    },
  },
  {
    source: 'Claude Code 2.1.332, its requests while it runs',
    read: '2026-11-30',
    rule: 'telemetry to /api/event_logging needs no key, and stays here',
    async check() {
      const path = '/bridge/anthropic/api/event_logging/batch'
      expect((await rejected({ path, headers: {}, body: '{"events":[]}' })).status).toBe(200)
    },
  },
  {
    source: 'https://docs.anthropic.com/en/api/messages-streaming',
    read: '2026-11-30',
    rule: 'events reach the client one by one, as they come, pings included',
    async check() {
      const gate = createGate()
      const ping = 'event: ping\ndata: {"type":"ping"}\n\n'
      const stop = 'event: message_stop\ndata: {"type":"message_stop"}\n\n'
      whole.provider.respondWith(eventStream(ping + stop, { 1: gate }))
      const response = await begin(whole, { headers: user(), body: claudeBody, path: messages })
      const chunks: string[] = []
      for await (const chunk of response) {
        chunks.push(String(chunk))
        gate.open()
      }
      expect(chunks).toEqual([ping, stop])
    },
  },
]

const codex = (file: string) => ({ source: `openai/codex ${file}`, read: '2026-11-30' })

const codexRules: Rule[] = [
  {
    ...codex('codex-rs/core/src/client.rs'),
    rule: 'a WebSocket of /responses gets 426, on which Codex goes on over HTTP',
    async check() {
      const { port } = new URL(whole.url)
      const socket = connect(Number(port), '127.0.0.1')
      await once(socket, 'connect')
      socket.write(
        `GET ${responses} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${whole.key}\r\n\r\n`,
      )
      let text = ''
      for await (const chunk of socket.setEncoding('latin1')) text += chunk
      expect(text).toMatch(/^HTTP\/1\.1 426 /)
    },
  },
  {
    ...codex('codex-rs/codex-api/src/endpoint/responses_websocket.rs'),
    rule: 'response headers that steer the client reach it: turn state, etag of the models, reasoning, model',
    async check() {
      const steering = {
        'x-codex-turn-state': 'opaque==',
        'x-models-etag': 'W/"7"',
        'x-reasoning-included': 'true',
        'openai-model': 'gpt-x-2026',
        'x-codex-primary-used-percent': '12.5',
        'x-request-id': 'req_1',
      }
      const { response } = await exchange({ path: responses, body: codexBody }, json({}, 200, steering))
      expect(response.headers).toMatchObject(steering)
    },
  },
  {
    ...codex('codex-rs/core/src/client.rs'),
    rule: "the client's own headers reach the provider: turn state, turn metadata, sub-agent, session, originator",
    async check() {
      const own = {
        'x-codex-turn-state': 'opaque==',
        'x-codex-turn-metadata': '{"turn_id":"1"}',
        'x-openai-subagent': 'review',
        session_id: '0199-a',
        originator: 'codex_cli_rs',
        version: '0.171.0',
        'openai-beta': 'responses=experimental',
      }
      const { call } = await exchange({ path: responses, body: codexBody, headers: { ...user(), ...own } })
      expect(call.headers).toMatchObject(own)
    },
  },
  {
    source: 'Codex 0.171.0, its requests after 401 and after 403',
    read: '2026-11-30',
    rule: 'a key that may be refreshed gets 401; Codex never runs its helper again after 403',
    async check() {
      const headers = { authorization: `Bearer ${'z'.repeat(10)}-${'z'.repeat(22)}` }
      const response = await rejected({ path: responses, body: codexBody, headers })
      expect([response.status, JSON.parse(response.body.toString()).error.code]).toEqual([401, 'invalid_api_key'])
    },
  },
  {
    ...codex('codex-rs/codex-client/src/request.rs'),
    rule: 'a body in zstd reaches the provider as it came, with its content encoding',
    async check() {
      const content = Buffer.from(codexBody)
      const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50, 0, 0, 0])
      head.writeUIntLE((content.length << 3) | 1, 6, 3)
      const body = Buffer.concat([head, content])
      const headers = { ...user(), 'content-encoding': 'zstd', 'content-type': 'application/json' }
      const { call } = await exchange({ path: responses, body, headers })
      expect([call.body, call.headers['content-encoding']]).toEqual([body, 'zstd'])
      expect((await whole.newest()).interception.model).toBe('gpt-x')
    },
  },
  {
    ...codex('codex-rs/codex-api/src/endpoint/models.rs'),
    rule: 'the models are asked at /models below the base URL, with the version of the client',
    async check() {
      const request = { method: 'GET', path: '/bridge/openai/v1/models?client_version=0.171.0', body: '' }
      const { call, response } = await exchange(request, json({ models: [] }, 200, { etag: '"1"' }))
      expect([call.url, response.headers.etag]).toEqual(['/v1/models?client_version=0.171.0', '"1"'])
    },
  },
]

const anthropicSdk = { source: 'anthropics/anthropic-sdk-typescript src/client.ts', read: '2026-11-30' }
const openaiSdk = { source: 'openai/openai-node src/client.ts', read: '2026-11-30' }

const sdks: Rule[] = [
  {
    ...anthropicSdk,
    rule: 'a rejection that a repetition cannot change says x-should-retry: false',
    async check() {
      const response = await rejected({ headers: {} })
      expect([response.status, response.headers['x-should-retry']]).toEqual([401, 'false'])
    },
  },
  {
    ...anthropicSdk,
    rule: "the provider's own x-should-retry and retry-after-ms reach the client",
    async check() {
      const sent = { 'x-should-retry': 'true', 'retry-after-ms': '1500', 'retry-after': '2' }
      const { response } = await exchange({}, json({ type: 'error', error: { type: 'x' } }, 529, sent))
      expect([response.status, response.headers]).toEqual([529, expect.objectContaining(sent)])
    },
  },
  {
    ...openaiSdk,
    rule: "the client's organization and project do not stand beside the operator's key",
    async check() {
      const own = { 'openai-organization': 'org-a', 'openai-project': 'proj-a' }
      const { call } = await exchange({ path: responses, body: codexBody, headers: { ...user(), ...own } })
      expect([call.headers['openai-organization'], call.headers['openai-project']]).toEqual([undefined, undefined])
      const byok = { ...own, 'x-bridge-token': whole.key, authorization: 'Bearer sk-own' }
      expect((await exchange({ path: responses, body: codexBody, headers: byok })).call.headers).toMatchObject(own)
    },
  },
  {
    source: 'https://platform.openai.com/docs/guides/error-codes',
    read: '2026-11-30',
    rule: 'an error is an object error with message, type, param and code',
    async check() {
      const response = await rejected({ path: '/bridge/openai/v1/nothing', headers: user() })
      expect(JSON.parse(response.body.toString())).toEqual({
        error: { message: expect.any(String), type: 'invalid_request_error', param: null, code: null },
      })
    },
  },
]

const oauthKey = 'sk-ant-oat01-0123456789abcdef'

const oauth: Rule[] = [
  {
    ...gatewayGuide,
    rule: 'a token of a subscription is a Bearer, with its beta as a line of its own beside those of the client',
    async check() {
      await whole.admin.providers.upsert.mutate({ name: 'oat', baseUrl: whole.provider.url, keys: [oauthKey] })
      const betas = { 'anthropic-beta': 'claude-code-20250219' }
      const { call } = await exchange({ path: '/bridge/oat/v1/messages', headers: { ...user(), ...betas } })
      const lines = call.rawHeaders.filter((_, index, raw) => raw[index - 1]?.toLowerCase() === 'anthropic-beta')
      expect([call.headers.authorization, call.headers['x-api-key'], lines]).toEqual([
        `Bearer ${oauthKey}`,
        undefined,
        ['claude-code-20250219', 'oauth-2025-04-20'],
      ])
    },
  },
  {
    ...gatewayGuide,
    rule: 'a token has its beta although the header of the client that names it stays here',
    async check() {
      const betas = { 'anthropic-beta': 'oauth-2025-04-20', connection: 'close, anthropic-beta' }
      const { call } = await exchange({ path: '/bridge/oat/v1/messages', headers: { ...user(), ...betas } })
      expect(call.headers['anthropic-beta']).toBe('oauth-2025-04-20')
    },
  },
  {
    ...gatewayGuide,
    rule: 'the beta of a token is not doubled if the client names it',
    async check() {
      const betas = { 'anthropic-beta': 'a-1, oauth-2025-04-20,b-2' }
      const { call } = await exchange({ path: '/bridge/oat/v1/messages', headers: { ...user(), ...betas } })
      expect(call.headers['anthropic-beta']).toBe('a-1, oauth-2025-04-20,b-2')
    },
  },
]

describe.each<[string, Rule[]]>([
  ['Claude Code', claudeCode],
  ['Codex', codexRules],
  ['SDKs', sdks],
  ['tokens of subscriptions', oauth],
])('%s', (_, rules) => {
  test.each(rules)('$rule ($source, read on $read)', ({ check }) => check())
})
