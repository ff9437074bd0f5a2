/** MCP servers on loopback: of both generations of the SDK, and one whose every byte a test decides. */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { createMcpHandler, McpServer as ModernServer } from '@modelcontextprotocol/server'
import { onTestFinished } from 'vitest'
import { z } from 'zod'

/** A server that listens. */
export interface ToolServer {
  url: string
  /** what it has seen, in order */
  seen: string[]
  /** the tokens of its requests */
  tokens: Set<string | undefined>
}

type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer, server: ToolServer) => unknown

/** Listens until the test has finished. */
export async function toolServer(handle: Handler): Promise<ToolServer> {
  const server: ToolServer = { url: '', seen: [], tokens: new Set() }
  const http = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    server.tokens.add(request.headers.authorization?.replace(/^Bearer /, ''))
    await handle(request, response, Buffer.concat(chunks), server)
  })
  await new Promise<void>(resolve => http.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    http.closeAllConnections()
    await new Promise(resolve => http.close(resolve))
  })
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp` // it listens on TCP
  return server
}

/** Tools of a server of the SDK. `wait` responds when its call is cancelled. */
function addTools(server: Pick<McpServer, 'registerTool'> | Pick<ModernServer, 'registerTool'>, seen: string[]): void {
  const register = server.registerTool.bind(server) as McpServer['registerTool'] // both take what stands here
  register('echo', { description: 'repeats', inputSchema: { text: z.string() } }, ({ text }) => {
    seen.push(`echo ${text}`)
    return { content: [{ type: 'text', text: `echo: ${text}` }] }
  })
  register('fail', { description: 'fails' }, () => {
    throw new Error('no such page')
  })
  register(
    'wait',
    { description: 'waits' },
    async (extra: { signal?: AbortSignal; mcpReq?: { signal: AbortSignal } }) => {
      const signal = extra.signal ?? extra.mcpReq?.signal
      seen.push('wait')
      await new Promise(resolve => signal?.addEventListener('abort', resolve))
      seen.push('cancelled')
      return { content: [] }
    },
  )
}

/** Adds tools to a server of the SDK, which notes calls in `seen`. */
export type AddTools = (server: Pick<McpServer, 'registerTool'>, seen: string[]) => void

/** A server of the SDK's first generation, with sessions. `forget()` drops them all. */
export async function oldServer(add: AddTools = addTools): Promise<ToolServer & { forget(): void }> {
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const server = await toolServer(async (request, response, body, { seen }) => {
    const id = request.headers['mcp-session-id']
    const json: unknown = body.length > 0 ? JSON.parse(body.toString()) : undefined
    if (request.method === 'DELETE') seen.push('DELETE')
    let transport = typeof id === 'string' ? sessions.get(id) : undefined
    if (id !== undefined && !transport) {
      response.writeHead(404).end()
      return
    }
    if (!transport) {
      const begun = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: sessionId => {
          seen.push('initialize')
          sessions.set(sessionId, begun)
        },
      })
      transport = begun
      const mcp = new McpServer({ name: 'old', version: '1' })
      add(mcp, seen)
      await mcp.connect(begun as Parameters<McpServer['connect']>[0]) // its types do not know exact optional properties
    }
    await transport.handleRequest(request, response, json)
  })
  return Object.assign(server, { forget: () => sessions.clear() })
}

/** A server of the SDK's second generation; `strict`: only the protocol of 2026. */
export async function newServer({ strict = false } = {}): Promise<ToolServer> {
  const seenByAll: string[] = []
  const handler = createMcpHandler(
    () => {
      const mcp = new ModernServer({ name: 'new', version: '1' })
      addTools(mcp, seenByAll)
      mcp.registerTool(
        'page',
        {
          description: 'marks a parameter',
          inputSchema: z.object({ page: z.string().meta({ 'x-mcp-header': 'Page' }) }),
        },
        ({ page }) => ({ content: [{ type: 'text', text: `page ${page}` }] }),
      )
      return mcp
    },
    { legacy: strict ? 'reject' : 'stateless' },
  )
  const server = await toolServer(async (request, response, body, { url }) => {
    const headers = new Headers()
    for (const [name, value] of Object.entries(request.headers)) if (typeof value === 'string') headers.set(name, value)
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    const method = request.method ?? 'GET'
    const init = { method, headers, signal: gone.signal, ...(body.length > 0 && { body: new Uint8Array(body) }) }
    const answer = await handler.fetch(new Request(url, init))
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    try {
      for await (const chunk of answer.body ?? []) response.write(chunk)
    } catch {
      // The client has left.
    }
    response.end()
  })
  return Object.assign(server, { seen: seenByAll })
}

/** A request of a client to a {@link scriptedServer}. */
export interface ScriptedRequest {
  method: string
  params: Record<string, unknown>
  id: number
  /** Responds with a result. */
  result(result: unknown): void
  /** Begins a stream, to which events are written. */
  stream(): { send(message: object): void; write(text: string): void; end(): void }
  response: ServerResponse
}

/** A server whose `tools/list` and `tools/call` a test writes; the handshake is ordinary, with a session. */
export async function scriptedServer(
  script: (request: ScriptedRequest, server: ToolServer) => unknown,
  gate: (request: IncomingMessage, response: ServerResponse, server: ToolServer) => boolean = () => true,
): Promise<ToolServer> {
  return toolServer((request, response, body, server) => {
    if (!gate(request, response, server)) return
    if (request.method !== 'POST') {
      server.seen.push(request.method ?? '')
      response.writeHead(request.method === 'DELETE' ? 200 : 405).end()
      return
    }
    const message = JSON.parse(body.toString())
    server.seen.push(message.method)
    if (message.id === undefined) {
      response.writeHead(202).end()
      return
    }
    const reply = (fields: object, headers: Record<string, string> = {}) => {
      response.writeHead(200, { 'content-type': 'application/json', ...headers })
      response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...fields }))
    }
    if (message.method === 'server/discover') {
      reply({ error: { code: -32601, message: 'no such method' } })
      return
    }
    if (message.method === 'initialize') {
      const result = {
        protocolVersion: message.params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'scripted', version: '1' },
      }
      reply({ result }, { 'mcp-session-id': randomUUID() })
      return
    }
    return script(
      {
        method: message.method,
        params: message.params ?? {},
        id: message.id,
        result: result => reply({ result }),
        stream() {
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          return {
            send: each => void response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...each })}\n\n`),
            write: text => void response.write(text),
            end: () => void response.end(),
          }
        },
        response,
      },
      server,
    )
  })
}
