import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { InjectedTool } from '../../../../client/bridge/mcp/injected-tool.js'
import { createServerDirectory } from '../../../../client/bridge/mcp/server-directory.js'
import { createToolClient, type ToolClient, type ToolClientOptions } from '../../../../client/bridge/mcp/tool-client.js'
import { bridgeLimits, toolLimits } from '../../../../shared/contract/limits.js'
import type { McpServerConfig } from '../../../../shared/contract/mcp-configurator.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { eventually } from '../../../fixtures/eventually.js'
import { type LogLine, memoryLogger } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane } from '../scripted-control-plane.js'
import {
  newServer,
  oldServer,
  type ScriptedRequest,
  scriptedServer,
  type ToolServer,
  toolServer,
} from './tool-servers.js'

const userId = '0198c5d4-0000-7000-8000-000000000001'
const object = { type: 'object', properties: {} }
const text = (value: string) => ({ type: 'text', text: value })

let plane: ScriptedControlPlane
let log: LogLine[]
let client: ToolClient

function configured(servers: Record<string, ToolServer | string>, more: Partial<McpServerConfig> = {}): void {
  plane.mcpServers = Object.entries(servers).map(([id, server]) => ({
    id,
    url: typeof server === 'string' ? server : server.url,
    toolAllowRegex: null,
    toolDenyRegex: null,
    inject: true,
    ...more,
  }))
  for (const id of Object.keys(servers)) plane.mcpTokens.set(id, { token: `token-of-${id}` })
}

function makeClient(options: Partial<ToolClientOptions> = {}): ToolClient {
  const { logger, lines } = memoryLogger()
  log = lines
  const limits = { ...bridgeLimits, mcpMaxUsers: 10 }
  const directory = createServerDirectory({ client: plane, logger, limits })
  const made = createToolClient({ directory, logger, ...options })
  onTestFinished(async () => {
    await made.close()
    directory.close()
  })
  return made
}

beforeEach(() => {
  plane = scriptedControlPlane()
  client = makeClient()
})
afterEach(() => vi.restoreAllMocks())

const names = async () => (await client.listTools(userId)).map(({ fullName }) => fullName)
const toolOf = async (fullName: string): Promise<InjectedTool> =>
  (await client.listTools(userId)).find(tool => tool.fullName === fullName) ?? expect.fail(`no tool ${fullName}`)
const call = async (
  fullName: string,
  args: JsonObject = {},
  { conversation = 'c', signal }: { conversation?: string; signal?: AbortSignal } = {},
) => client.call({ userId, conversation, tool: await toolOf(fullName), arguments: args }, signal)

describe.each([
  ['the first generation', () => oldServer()],
  ['the second generation', () => newServer()],
  ['the second generation, strict', () => newServer({ strict: true })],
])('a server of %s', (_generation, start) => {
  test('its tools are listed and called, with the token of the user', async () => {
    const server = await start()
    configured({ wiki: server })
    expect(await names()).toEqual(expect.arrayContaining(['bmcp_wiki_echo', 'bmcp_wiki_fail', 'bmcp_wiki_wait']))
    const { inputSchema, description } = await toolOf('bmcp_wiki_echo')
    expect(description).toBe('repeats')
    expect(inputSchema).toMatchObject({ type: 'object', properties: { text: { type: 'string' } }, required: ['text'] })
    expect(await call('bmcp_wiki_echo', { text: 'hello' })).toEqual({
      isError: false,
      parts: [text('echo: hello')],
      durationMs: expect.any(Number),
    })
    expect([...server.tokens]).toEqual(['token-of-wiki'])
  })

  test('an error of its tool is an error with the text', async () => {
    configured({ wiki: await start() })
    expect(await call('bmcp_wiki_fail')).toMatchObject({
      isError: true,
      parts: [text('no such page')],
      error: 'no such page',
    })
  })

  test('a cancelled call is cancelled there too', async () => {
    const server = await start()
    configured({ wiki: server })
    const caller = new AbortController()
    const calling = call('bmcp_wiki_wait', {}, { signal: caller.signal })
    await eventually(() => expect(server.seen).toContain('wait'))
    caller.abort()
    expect(await calling).toMatchObject({ isError: true, error: expect.stringMatching(/^cancelled/) })
    await eventually(() => expect(server.seen).toContain('cancelled'))
  })

  test('a call that has run out of time is cancelled there too', async () => {
    client = makeClient({ mcpCallTimeoutMs: 300 })
    const server = await start()
    configured({ wiki: server })
    await client.listTools(userId)
    expect(await call('bmcp_wiki_wait')).toMatchObject({
      isError: true,
      parts: [text('This tool did not respond in time.')],
      error: 'timed_out: no response within 300 ms',
    })
    await eventually(() => expect(server.seen).toContain('cancelled'))
  })
})

test('a parameter that its server wants in a header stands there', async () => {
  configured({ wiki: await newServer({ strict: true }) })
  for (const page of ['main', '日本', ' a', '']) {
    expect(await call('bmcp_wiki_page', { page })).toMatchObject({ isError: false, parts: [text(`page ${page}`)] })
  }
})

describe('sessions', () => {
  test('a conversation has one session with a server, and each ends with DELETE', async () => {
    const server = await oldServer()
    configured({ wiki: server })
    for (const conversation of ['a', 'b', 'a', 'b']) await call('bmcp_wiki_echo', { text: 'x' }, { conversation })
    // One for the list.
    expect(server.seen.filter(each => each === 'initialize')).toHaveLength(3)
    await client.close()
    expect(server.seen.filter(each => each === 'DELETE')).toHaveLength(3)
  })

  test('a session that the server has forgotten begins once more', async () => {
    const server = await oldServer()
    configured({ wiki: server })
    await call('bmcp_wiki_echo', { text: 'x' })
    server.forget()
    expect(await call('bmcp_wiki_echo', { text: 'y' })).toMatchObject({ isError: false, parts: [text('echo: y')] })
    expect(server.seen.filter(each => each === 'echo y')).toHaveLength(1)
  })

  test('a server that forgets each session at once is asked twice', async () => {
    const server = await scriptedServer(({ method, result, response }) => {
      if (method === 'tools/list') result({ tools: [{ name: 'x', inputSchema: object }] })
      else response.writeHead(404).end()
    })
    configured({ wiki: server })
    expect(await call('bmcp_wiki_x')).toMatchObject({ isError: true, error: expect.stringMatching(/^session_lost/) })
    expect(server.seen.filter(each => each === 'tools/call')).toHaveLength(2)
  })

  test('a session that is not used ends', async () => {
    client = makeClient({ idleSessionMs: 30 })
    const server = await oldServer()
    configured({ wiki: server })
    await call('bmcp_wiki_echo', { text: 'x' })
    await eventually(() => expect(server.seen.filter(each => each === 'DELETE')).toHaveLength(2))
  })
})

describe('tokens', () => {
  test('a token that is rejected once is read again, once', async () => {
    let rejections = 0
    const server = await scriptedServer(
      ({ method, result }) =>
        result(method === 'tools/list' ? { tools: [{ name: 'x', inputSchema: object }] } : { content: [text('ok')] }),
      (request, response) => {
        if (request.headers.authorization !== 'Bearer old') return true
        rejections++
        plane.mcpTokens.set('wiki', { token: 'new' })
        response.writeHead(401).end()
        return false
      },
    )
    configured({ wiki: server })
    plane.mcpTokens.set('wiki', { token: 'old' })
    expect(await call('bmcp_wiki_x')).toMatchObject({ parts: [text('ok')] })
    expect(rejections).toBe(1)
    expect([...server.tokens]).toEqual(['old', 'new'])
  })

  test.each(['no_link', 'expired_or_invalid'] as const)('without a token (%s) the server is not asked', async error => {
    const server = await oldServer()
    configured({ wiki: server })
    plane.mcpTokens.set('wiki', { error })
    expect(await names()).toEqual([])
    expect(server.tokens.size).toBe(0)
    expect(log).toMatchObject([{ level: 'warn', fields: { server: 'wiki', failure: 'no_token' } }])
  })

  test('a server that needs no token is asked without one', async () => {
    const server = await oldServer()
    configured({ wiki: server }, { needsToken: false })
    plane.mcpTokens.delete('wiki')
    expect(await call('bmcp_wiki_echo', { text: 'x' })).toMatchObject({ parts: [text('echo: x')] })
    expect([...server.tokens]).toEqual([undefined])
  })

  test('a server that wants a token all the same hides its tools', async () => {
    const server = await toolServer((_request, response) => response.writeHead(401).end())
    configured({ wiki: server }, { needsToken: false })
    plane.mcpTokens.delete('wiki')
    expect(await names()).toEqual([])
    expect(log).toMatchObject([{ fields: { failure: 'no_token' } }])
  })

  test('a server that repeats the token in its error does not put it into records or the log', async () => {
    const server = await scriptedServer(({ method, result, response }) => {
      if (method === 'tools/list') result({ tools: [{ name: 'x', inputSchema: object }] })
      else response.writeHead(500).end('bad token-of-wiki')
    })
    configured({ wiki: server })
    const { error, parts } = await call('bmcp_wiki_x')
    expect(error).toMatch(/^broken: .*bad \[secret\]$/)
    expect(JSON.stringify([error, parts, log])).not.toContain('token-of-wiki')
    expect(parts).toEqual([text('This tool could not be reached.')])
  })
})

test('a redirect is not followed, even to the same server', async () => {
  const server = await toolServer((request, response, _body, { url, seen }) => {
    seen.push(request.url ?? '')
    response.writeHead(307, { location: `${url}/else` }).end()
  })
  configured({ wiki: server })
  expect(await names()).toEqual([])
  expect(new Set(server.seen)).toEqual(new Set(['/mcp']))
  expect(log).toMatchObject([{ fields: { server: 'wiki', failure: 'broken' } }])
})

describe('lists', () => {
  const listing = (tools: unknown) =>
    scriptedServer(({ method, result }) => result(method === 'tools/list' ? { tools } : { content: [] }))

  test('one bad tool hides no other, whatever is wrong with it', async () => {
    configured({
      wiki: await listing([
        {
          name: 'good',
          inputSchema: object,
          outputSchema: { type: 'object', properties: { a: { pattern: '(?i)a' } } },
        },
        { name: 7 },
        'text',
        { name: 'bad', inputSchema: 'none' },
        { name: 'odd', inputSchema: object, annotations: 'text', icons: 7, title: [] },
      ]),
    })
    expect(await names()).toEqual(['bmcp_wiki_good', 'bmcp_wiki_odd'])
  })

  test('pages are read to the end, and filtered by the patterns', async () => {
    const server = await scriptedServer(({ params, result }) => {
      const page = Number(params.cursor ?? 0)
      const tools = ['read', 'write'].map(name => ({ name: `${name}_${page}`, inputSchema: object }))
      result({ tools, ...(page < 2 && { nextCursor: String(page + 1) }) })
    })
    configured({ wiki: server }, { toolAllowRegex: '^(read|write)_', toolDenyRegex: '_1$' })
    expect(await names()).toEqual(['read_0', 'read_2', 'write_0', 'write_2'].map(name => `bmcp_wiki_${name}`))
  })

  test.each([
    ['the same', () => 'again', 2],
    ['a new one each time', (page: number) => String(page), toolLimits.maxPages],
  ])('a cursor that never ends, %s, ends', async (_case, next, pages) => {
    let page = 0
    const server = await scriptedServer(({ result }) => {
      page++
      result({ tools: [{ name: `t${page}`, inputSchema: object }], nextCursor: next(page) })
    })
    configured({ wiki: server })
    expect(await names()).toHaveLength(pages)
    expect(page).toBe(pages)
    expect(log.map(({ message }) => message)).toEqual(['a list of tools does not end'])
  })

  test('a server with thousands of tools gives some, and a user has a bounded list', async () => {
    const many = Array.from({ length: 3_000 }, (_, index) => ({ name: `t${index}`, inputSchema: object }))
    const large = Array.from({ length: 200 }, (_, index) => ({
      name: `l${index}`,
      inputSchema: { ...object, text: 'x'.repeat(30_000) },
    }))
    configured({ a: await listing(many), b: await listing(many), c: await listing(many) })
    expect(await names()).toHaveLength(512)
    client = makeClient()
    configured({ large: await listing(large) })
    const tools = await client.listTools(userId)
    expect(tools.length).toBeLessThan(200)
    expect(JSON.stringify(tools).length).toBeLessThanOrEqual(1024 * 1024)
    expect(JSON.stringify(tools).length).toBeGreaterThan(1024 * 1024 - 40_000)
  })

  test('servers that fail, wait or are down hide only their own tools, and are logged once', async () => {
    client = makeClient({ listTimeoutMs: 400 })
    const down = await toolServer(() => {})
    configured({
      broken: await toolServer((_request, response) => response.writeHead(500).end('no')),
      down: down.url.replace(/:\d+/, ':1'),
      empty: await listing([]),
      good: await oldServer(),
      html: await toolServer((_request, response) =>
        response.writeHead(200, { 'content-type': 'text/html' }).end('<p>'),
      ),
      slow: await toolServer(() => {}),
      slower: await scriptedServer(() => {}),
    })
    const begun = performance.now()
    expect(await names()).toEqual(['bmcp_good_echo', 'bmcp_good_fail', 'bmcp_good_wait'])
    expect(performance.now() - begun).toBeLessThan(2_000)
    const failed = log.map(({ fields }) => Reflect.get(fields, 'server')).sort()
    expect(failed).toEqual(['broken', 'down', 'html', 'slow', 'slower'])
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + toolLimits.failedListTtlMs)
    await client.listTools(userId)
    vi.restoreAllMocks()
    expect(log).toHaveLength(5)
  })

  test('a list is used for a minute, by all callers, and while the servers stay the same', async () => {
    const server = await listing([{ name: 'x', inputSchema: object }])
    configured({ wiki: server })
    const lists = () => server.seen.filter(each => each === 'tools/list').length
    await Promise.all([names(), names(), names()])
    expect(lists()).toBe(1)
    const now = performance.now()
    vi.spyOn(performance, 'now').mockReturnValue(now + 59_000)
    await names()
    expect(lists()).toBe(1)
    vi.spyOn(performance, 'now').mockReturnValue(now + 61_000)
    await names()
    expect(lists()).toBe(2)
    configured({ wiki: server }, { toolDenyRegex: 'x' })
    vi.spyOn(performance, 'now').mockReturnValue(now + 200_000)
    expect(await names()).toEqual([])
    vi.restoreAllMocks()
  })

  test('a server that is not marked is not asked', async () => {
    const server = await oldServer()
    configured({ wiki: server }, { inject: false })
    expect(await names()).toEqual([])
    expect(server.seen).toEqual([])
  })
})

describe('calls', () => {
  const calling = (script: Parameters<typeof scriptedServer>[0]) =>
    scriptedServer((request, server) => {
      if (request.method === 'tools/call') return script(request, server)
      request.result({ tools: [{ name: 'x', inputSchema: object }] })
    })

  test.each<[string, unknown, unknown[]]>([
    ['structured content only', { structuredContent: { pages: 3 } }, [text('{"pages":3}')]],
    [
      'content that lies about its type',
      { content: [{ type: 'text', text: { a: 1 } }, text('b')] },
      [text('[content of an unknown kind cannot be shown]'), text('b')],
    ],
    ['nothing', {}, [text('[the tool returned no content]')]],
  ])('a result of %s is read', async (_case, result, parts) => {
    configured({ wiki: await calling(request => request.result(result)) })
    expect((await call('bmcp_wiki_x')).parts).toEqual(parts)
  })

  test.each([
    ['as JSON', (request: { result(value: unknown): void }, value: unknown) => request.result(value)],
    [
      'as an event',
      ({ stream, id }: { stream(): { send(message: object): void; end(): void }; id: number }, value: unknown) => {
        const events = stream()
        events.send({ id, result: value })
        events.end()
      },
    ],
  ])('a result of 20 MiB %s is an error, at once', async (_case, reply) => {
    configured({ wiki: await calling(request => reply(request, { content: [text('x'.repeat(20 * 1024 * 1024))] })) })
    expect(await call('bmcp_wiki_x')).toMatchObject({
      isError: true,
      parts: [text('The response of this tool is too large.')],
      error: expect.stringContaining('8,388,608 bytes'),
    })
  })

  test('a stream that never ends is left at its bound', async () => {
    let written = 0
    const server = await calling(({ stream, response }) => {
      const events = stream()
      const more = () => {
        while (!response.closed && response.write(`: ${'x'.repeat(65_536)}\n\n`)) written += 65_540
        if (!response.closed) response.once('drain', more)
      }
      more()
      response.on('close', () => void server.seen.push('closed'))
      events.send({ method: 'notifications/message', params: { level: 'info', data: 1 } })
    })
    configured({ wiki: server })
    expect(await call('bmcp_wiki_x')).toMatchObject({ error: expect.stringMatching(/^too_large/) })
    await eventually(() => expect(server.seen).toContain('closed'))
    expect(written).toBeLessThan(3 * toolLimits.maxResponseBytes)
  })

  test('a stream that says nothing is closed when its time is up', async () => {
    client = makeClient({ mcpCallTimeoutMs: 200 })
    const server = await calling(({ stream, response }) => {
      const events = stream()
      const timer = setInterval(() => events.write(': nothing\n\n'), 20)
      response.on('close', () => {
        clearInterval(timer)
        server.seen.push('closed')
      })
    })
    configured({ wiki: server })
    await client.listTools(userId)
    expect(await call('bmcp_wiki_x')).toMatchObject({ error: expect.stringMatching(/^timed_out/) })
    await eventually(() => expect(server.seen).toEqual(expect.arrayContaining(['closed', 'notifications/cancelled'])))
  })

  test('a stream that stays open behind the response is closed', async () => {
    const server = await calling(({ id, stream, response }) => {
      stream().send({ id, result: { content: [text('done')] } })
      response.on('close', () => void server.seen.push('closed'))
    })
    configured({ wiki: server })
    expect(await call('bmcp_wiki_x')).toMatchObject({ parts: [text('done')] })
    await eventually(() => expect(server.seen).toContain('closed'))
  })

  test.each([
    ['ends without a response', ({ stream }: { stream(): { end(): void } }) => stream().end()],
    [
      'has a response to another request',
      ({ stream, id }: { stream(): { send(message: object): void; end(): void }; id: number }) => {
        const events = stream()
        events.send({ id: id + 1, result: {} })
        events.end()
      },
    ],
    [
      'is no JSON',
      ({ stream }: { stream(): { write(value: string): void; end(): void } }) => {
        const events = stream()
        events.write('data: {\n\n')
        events.end()
      },
    ],
  ])('a stream that %s fails at once', async (_case, script) => {
    configured({ wiki: await calling(script) })
    const begun = performance.now()
    expect(await call('bmcp_wiki_x')).toMatchObject({ isError: true, error: expect.stringMatching(/^broken/) })
    expect(performance.now() - begun).toBeLessThan(5_000)
  })

  test('a stream that breaks behind an id is resumed', async () => {
    let id = 0
    const server = await scriptedServer(
      request => {
        if (request.method === 'tools/list') return request.result({ tools: [{ name: 'x', inputSchema: object }] })
        id = request.id
        const events = request.stream()
        events.write('id: first\nretry: 10\ndata:\n\n')
        events.end()
      },
      (request, response) => {
        if (request.method !== 'GET' || request.headers['last-event-id'] !== 'first') return true
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [text('late')] } })}\n\n`)
        return false
      },
    )
    configured({ wiki: server })
    expect(await call('bmcp_wiki_x')).toMatchObject({ isError: false, parts: [text('late')] })
  })

  test('a server that floods its client with requests gets few responses', async () => {
    const server = await calling(({ id, stream }) => {
      const events = stream()
      for (let index = 0; index < 500; index++) events.send({ id: `p${index}`, method: 'ping' })
      events.send({ id: 'roots', method: 'roots/list' })
      events.send({ id, result: { content: [text('done')] } })
      events.end()
    })
    configured({ wiki: server })
    expect(await call('bmcp_wiki_x')).toMatchObject({ parts: [text('done')] })
    await client.close()
    expect(server.seen.length).toBeLessThan(toolLimits.maxServerRequests + 20)
  })

  test('an error in place of a result says nothing to the model, and its words stand in the record', async () => {
    const server = await calling(({ id, response }) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32603, message: 'stack at /srv/app.js' } }))
    })
    configured({ wiki: server })
    expect(await call('bmcp_wiki_x')).toMatchObject({
      isError: true,
      parts: [text('This tool rejected the call.')],
      error: 'rejected: -32603: stack at /srv/app.js',
    })
  })

  test('a tool that is not configured any more, or denied since, is not called', async () => {
    const server = await calling(request => request.result({ content: [] }))
    configured({ wiki: server })
    const tool = await toolOf('bmcp_wiki_x')
    for (const change of [{ inject: false }, { toolDenyRegex: 'x' }, { id: 'other' }]) {
      configured({ wiki: server }, change)
      client = makeClient()
      const result = await client.call({ userId, conversation: 'c', tool, arguments: {} })
      expect(result).toMatchObject({ isError: true, parts: [text('This tool is not available any more.')] })
    }
    expect(server.seen).not.toContain('tools/call')
  })

  test('a call whose caller has left already is not made', async () => {
    const server = await calling(request => request.result({ content: [] }))
    configured({ wiki: server })
    await client.listTools(userId)
    expect(await call('bmcp_wiki_x', {}, { signal: AbortSignal.abort() })).toMatchObject({
      error: expect.stringMatching(/^cancelled/),
    })
    expect(server.seen).not.toContain('tools/call')
    expect(log).toEqual([])
  })
})

describe('the token in words of a server', () => {
  const token = 'token/of+ada-1234567'
  const writings = [token, token.replaceAll('/', '\\/'), encodeURIComponent(token)]
  const said = writings.map(each => `denied: ${each}`).join(' ')
  const fail = ({ id, response }: Pick<ScriptedRequest, 'id' | 'response'>) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32000, message: said } }))
  }
  const streamed = ({ id, stream }: ScriptedRequest, value: unknown) => {
    const events = stream()
    events.send({ id, result: value })
    events.end()
  }
  const refuse = ({ response }: ScriptedRequest) => response.writeHead(500).end(said)
  const reply = (value: unknown) => (request: ScriptedRequest) => request.result(value)
  const listed = reply({ tools: [{ name: 'x', inputSchema: object }] })
  const everywhere = {
    content: [
      text(said),
      { type: 'resource', resource: { text: said } },
      { type: 'resource_link', name: said, uri: said },
    ],
  }
  const described = { name: 'x', description: said, inputSchema: { properties: { [said]: { enum: [said] } } } }

  test.each<
    [
      string,
      { list?: (request: ScriptedRequest) => unknown; call?: (request: ScriptedRequest) => unknown; begin?: 'fails' },
    ]
  >([
    ['when a session begins', { begin: 'fails' }],
    ['in the error of a list', { list: fail }],
    ['in the status of a list', { list: refuse }],
    ['in descriptions and schemas', { list: reply({ tools: [described] }) }],
    ['in the error of a call', { call: fail }],
    ['in the status of a call', { call: refuse }],
    ['in a result', { call: reply(everywhere) }],
    ['in a streamed result', { call: request => streamed(request, everywhere) }],
    ['in structured content', { call: reply({ structuredContent: { [said]: [{ [said]: said }] } }) }],
    ['in the error of a tool', { call: reply({ isError: true, ...everywhere }) }],
  ])(
    'a token %s is masked in the log, for the model and in the record',
    async (_case, { list, call: called, begin }) => {
      const script = (request: ScriptedRequest) =>
        (request.method === 'tools/list' ? (list ?? listed) : (called ?? reply({})))(request)
      const failing = () =>
        toolServer((_request, response, body) => fail({ id: JSON.parse(body.toString()).id, response }))
      const server = await (begin === 'fails' ? failing() : scriptedServer(script))
      configured({ wiki: server })
      plane.mcpTokens.set('wiki', { token })
      const tools = await client.listTools(userId)
      const tool = { fullName: 'bmcp_wiki_x', bareName: 'x', serverId: 'wiki', serverUrl: server.url }
      const known = { ...tool, description: '', inputSchema: object }
      const result = await client.call({ userId, conversation: 'c', tool: known, arguments: {} })
      expect([...server.tokens]).toEqual([token])
      const all = JSON.stringify([tools, result, log.map(({ fields, message }) => [fields, message])])
      // The server's other words are there, so that the test would see the token.
      expect(all).toContain('denied: [secret]')
      for (const writing of writings) expect(all).not.toContain(JSON.stringify(writing).slice(1, -1))
    },
  )

  test('a token that was read again is masked too, beside the one before', async () => {
    const server = await scriptedServer(
      request => {
        if (request.method === 'tools/list') return listed(request)
        return request.result({ content: [text(`not first-token but second-token`)] })
      },
      (request, response) => {
        const isRejected = server.seen.includes('tools/list') && request.headers.authorization === 'Bearer first-token'
        if (isRejected) response.writeHead(401).end()
        return !isRejected
      },
    )
    configured({ wiki: server })
    plane.mcpTokens.set('wiki', { token: 'first-token' })
    const tool = await toolOf('bmcp_wiki_x')
    plane.mcpTokens.set('wiki', { token: 'second-token' })
    const result = await client.call({ userId, conversation: '', tool, arguments: {} })
    expect(result.parts).toEqual([text('not [secret] but [secret]')])
  })
})
