/**
 * A session with one MCP server. The official client negotiates and carries messages; requests are this file's own,
 * because the client's check a whole result at once, cannot end the stream of a request that is cancelled, and wait for
 * a response whose stream has ended.
 */
import type { Client, JSONRPCMessage, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { toolLimits as limits } from '../../../shared/contract/limits.js'
import { abortable } from '../../../shared/values/abortable.js'
import type { JsonObject } from '../../../shared/values/text.js'
import { Deadline, SessionError, sessionErrorOf } from './session-error.js'
import { ResponseTooLarge, type SessionFetch } from './session-fetch.js'

/** Options of one request. */
export interface SessionRequestOptions {
  /** of a {@link Deadline}; every request has one */
  signal: AbortSignal
  headers?: Readonly<Record<string, string>> | undefined
}

/** A session with a server, initialized. */
export interface McpSession {
  /**
   * Sends a request and returns its result, unchecked. When the signal aborts, the request is cancelled at the server,
   * and its stream is closed.
   * @throws SessionError
   */
  request(method: string, params: JsonObject, options: SessionRequestOptions): Promise<unknown>
  /** Ends the session at the server and here. Never rejects. */
  end(): Promise<void>
}

/** Begins a session with a server of either generation of the protocol. @throws SessionError */
export async function beginSession(url: string, fetch: SessionFetch, timeoutMs: number): Promise<McpSession> {
  // The package takes a quarter of a second, which a daemon without MCP servers need not spend.
  const mcp = await import('@modelcontextprotocol/client')
  // A redirect leads away from the server that an operator has named, with the user's token.
  const requestInit: RequestInit = { redirect: 'manual' }
  const transport = new mcp.StreamableHTTPClientTransport(new URL(url), { fetch, requestInit, reconnectionOptions })
  const client = new mcp.Client(
    { name: 'aibridge', version: '1' },
    { capabilities: {}, versionNegotiation: { mode: 'auto' } },
  )
  const deadline = new Deadline(timeoutMs)
  try {
    const connecting = client.connect(transport, { signal: deadline.signal, timeout: timeoutMs })
    connecting.catch(() => {}) // nobody may wait any more
    await deadline.race(connecting)
  } catch (error) {
    await client.close().catch(() => {}) // the error says more
    throw deadline.errorFor(sessionErrorOf(error, false))
  } finally {
    deadline.clear()
  }
  const envelope = client.getProtocolEra() === 'modern' ? envelopeOf(mcp, client) : undefined
  return new RunningSession(client, transport, envelope)
}

/** A stream that breaks before its response is resumed, if the server can: soon or never, since a model waits. */
const reconnectionOptions = {
  initialReconnectionDelay: 200,
  maxReconnectionDelay: 2_000,
  reconnectionDelayGrowFactor: 2,
  maxRetries: 2,
}

/** The facts that a server of the newer generation wants with every request, since it has no sessions. */
function envelopeOf(mcp: typeof import('@modelcontextprotocol/client'), client: Client): JsonObject {
  return {
    [mcp.PROTOCOL_VERSION_META_KEY]: client.getNegotiatedProtocolVersion() ?? '',
    [mcp.CLIENT_INFO_META_KEY]: { name: 'aibridge', version: '1' },
    [mcp.CLIENT_CAPABILITIES_META_KEY]: {},
  }
}

interface Pending {
  resolve(result: unknown): void
  reject(error: SessionError): void
}

class RunningSession implements McpSession {
  readonly #client: Client
  readonly #transport: StreamableHTTPClientTransport
  readonly #envelope: JsonObject | undefined
  readonly #pending = new Map<number, Pending>()
  /** far from the ids of the client's own requests */
  #nextId = 1_000
  #serverRequests = 0

  constructor(client: Client, transport: StreamableHTTPClientTransport, envelope: JsonObject | undefined) {
    this.#client = client
    this.#transport = transport
    this.#envelope = envelope
    const deliver = transport.onmessage
    transport.onmessage = (message, ...rest) => {
      if (!this.#take(message)) deliver?.(message, ...rest)
    }
    transport.onerror = error => {
      // Of an error inside of a stream only the text is left. The stream would be resumed, to be too large again.
      if (!error.message.includes(ResponseTooLarge.name)) return
      for (const { reject } of this.#pending.values()) reject(new SessionError('too_large', error.message))
    }
  }

  async request(method: string, params: JsonObject, options: SessionRequestOptions): Promise<unknown> {
    const { signal, headers } = options
    const id = this.#nextId++
    const stream = new AbortController()
    try {
      const response = new Promise<unknown>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject })
        const onRequestStreamEnd = () => reject(new SessionError('broken', 'the stream ended without a response'))
        this.#transport
          .send(this.#message(id, method, params), {
            requestSignal: stream.signal,
            onRequestStreamEnd,
            ...(headers && { headers }),
          })
          .catch((error: unknown) => reject(sessionErrorOf(error, this.#transport.sessionId !== undefined)))
      })
      response.catch(() => {}) // nobody may wait any more
      return await abortable(response, signal)
    } catch (error) {
      if (signal.aborted) this.#cancel(id, sessionErrorOf(error, false).failure)
      throw error
    } finally {
      this.#pending.delete(id)
      // A server may keep the stream open, whether it has responded or not.
      stream.abort()
    }
  }

  async end(): Promise<void> {
    const deadline = new Deadline(limits.endTimeoutMs)
    // A server that is down has no session either.
    await deadline.race(this.#transport.terminateSession()).catch(() => {})
    deadline.clear()
    await this.#client.close().catch(() => {}) // nothing is left to close
  }

  #message(id: number, method: string, params: JsonObject): JSONRPCMessage {
    const all = this.#envelope ? { ...params, _meta: this.#envelope } : params
    return { jsonrpc: '2.0', id, method, params: all }
  }

  /** Without an envelope the closed stream means a lost network to the server, so it is notified. */
  #cancel(requestId: number, reason: string): void {
    if (this.#envelope) return
    this.#transport
      .send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId, reason } })
      .catch(() => {}) // the server is gone, or has responded meanwhile
  }

  /** Returns whether the message is no business of the client. */
  #take(message: JSONRPCMessage): boolean {
    if ('method' in message) {
      // Notifications mean nothing here, and a flood of requests would be a flood of responses.
      return !('id' in message) || message.method !== 'ping' || ++this.#serverRequests > limits.maxServerRequests
    }
    const pending = typeof message.id === 'number' ? this.#pending.get(message.id) : undefined
    if (!pending) return false
    if ('result' in message) pending.resolve(message.result)
    else pending.reject(new SessionError('rejected', `${message.error.code}: ${message.error.message}`))
    return true
  }
}
