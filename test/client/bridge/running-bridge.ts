/** A bridge on a port of its own, and a client that shows every byte. */
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import type { ControlPlane } from '../../../client/bridge/control-plane/control-plane.js'
import { type BridgeDaemon, type BridgeDaemonOptions, createBridgeDaemon } from '../../../client/bridge/daemon.js'
import type { BridgeLimits } from '../../../shared/contract/limits.js'
import type { Provider } from '../../../shared/contract/provider-configurator.js'
import type { Logger } from '../../../shared/values/log.js'
import { testKey } from './scripted-control-plane.js'

export interface LogLine {
  level: keyof Logger
  fields: object
  message: string
}

/** Makes a logger whose lines can be read. */
export function memoryLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  const at = (level: keyof Logger) => (fields: object, message: string) => {
    lines.push({ level, fields, message })
  }
  return { lines, logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } }
}

export interface RunningBridge {
  /** URL of the bridge, without `/bridge` */
  url: string
  daemon: BridgeDaemon
  log: LogLine[]
  sdk: Anthropic
  openai: OpenAI
  close(): Promise<void>
}

export async function startBridge(
  client: ControlPlane,
  limits: Partial<BridgeLimits> = {},
  key = testKey,
  options: Partial<BridgeDaemonOptions> = {},
): Promise<RunningBridge> {
  const { logger, lines } = memoryLogger()
  const daemon = createBridgeDaemon({ client, logger, limits, ...options })
  const server = createServer(daemon.handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listening on TCP
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    daemon,
    log: lines,
    sdk: new Anthropic({ apiKey: key, baseURL: `${url}/bridge/anthropic`, maxRetries: 0 }),
    openai: new OpenAI({ apiKey: key, baseURL: `${url}/bridge/openai/v1`, maxRetries: 0 }),
    async close() {
      await daemon.close({ graceMs: 0 })
      await new Promise<void>(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    },
  }
}

export function anthropicProvider(baseUrl: string, overrides: Partial<Provider> = {}): Provider {
  return {
    name: 'anthropic',
    type: 'anthropic',
    enabled: true,
    baseUrl,
    keys: ['sk-ant-provider-key-0123456789'],
    ...overrides,
  }
}

/** Returns a provider whose stand-in is at `baseUrl`; OpenAI's own base URL ends with `/v1`. */
export function openaiProvider(baseUrl: string, overrides: Partial<Provider> = {}): Provider {
  return {
    name: 'openai',
    type: 'openai',
    enabled: true,
    baseUrl: `${baseUrl}/v1`,
    keys: ['sk-proj-provider-key-0123456789'],
    ...overrides,
  }
}

export interface ClientResponse {
  status: number
  statusText: string
  rawHeaders: string[]
  headers: IncomingMessage['headers']
  body: Buffer
  /** whether the response was complete */
  whole: boolean
}

export interface ClientRequest {
  method?: string
  path?: string
  headers?: Record<string, string | string[]>
  body?: string | Buffer
}

const plainBody = JSON.stringify({
  model: 'claude-test-1',
  max_tokens: 16,
  messages: [{ role: 'user', content: 'hello' }],
})

/** Sends one request on a connection of its own. */
export async function send(bridge: Pick<RunningBridge, 'url'>, request: ClientRequest = {}): Promise<ClientResponse> {
  const response = await begin(bridge, request)
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => chunks.push(chunk))
  response.on('error', () => {}) // `whole` shows it
  await new Promise(resolve => response.once('close', resolve))
  return {
    status: response.statusCode ?? 0,
    statusText: response.statusMessage ?? '',
    rawHeaders: response.rawHeaders,
    headers: response.headers,
    body: Buffer.concat(chunks),
    whole: response.complete,
  }
}

/** Sends one request and resolves at the headers of the response. */
export async function begin(bridge: Pick<RunningBridge, 'url'>, request: ClientRequest = {}): Promise<IncomingMessage> {
  const {
    method = 'POST',
    path = '/bridge/anthropic/v1/messages',
    headers,
    body = method === 'POST' ? plainBody : '',
  } = request
  const { hostname, port } = new URL(bridge.url)
  const sent = httpRequest({ hostname, port, path, method, agent: false, headers: headers ?? { 'x-api-key': testKey } })
  sent.end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage] // by the event's definition
  return response
}
