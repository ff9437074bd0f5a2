/** Lists the tools of an MCP server through the official client, with a token. */
import type { McpTestFailure } from '../../../shared/contract/admin/mcp-servers.js'
import { adminLimits } from '../../../shared/contract/limits.js'
import { maskSecrets } from '../../../shared/values/mask-secrets.js'
import { isPlainObject } from '../../../shared/values/text.js'

/** A tool as its server describes it. */
export interface DescribedTool {
  name: string
  description: string
}

/** The tools of a server, and the number of those without a name. */
export interface ListedTools {
  tools: DescribedTool[]
  unusable: number
}

/** The tools could not be listed. The message holds nothing that the server said. */
export class ListingFailed extends Error {
  override readonly name = 'ListingFailed'
  readonly failure: McpTestFailure

  constructor(failure: McpTestFailure, message: string) {
    super(message)
    this.failure = failure
  }
}

/**
 * Lists the tools of a server, all pages. A tool of another form than MCP's is listed too, or counted if it has no
 * name. The session is ended.
 * @param signal ends the listing, the end of the session included
 * @throws ListingFailed; the signal's reason
 */
export async function listMcpTools(url: string, token: string | undefined, signal: AbortSignal): Promise<ListedTools> {
  // The package takes a quarter of a second, which a server without such tests need not spend.
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
  const { z } = await import('zod')
  const secrets = token === undefined ? [] : [token]
  const page = z.looseObject({ tools: z.array(z.unknown()), nextCursor: z.string().optional() })
  let failure: ListingFailed | undefined
  const call = async (address: string | URL, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers)
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
    // Streams of notifications are of no use here.
    if (init.method === 'GET') return new Response(null, { status: 405 })
    try {
      const ended = init.signal ? AbortSignal.any([signal, init.signal]) : signal
      const response = await fetch(address, { ...init, headers, redirect: 'manual', signal: ended })
      failure = failureOf(response.status) ?? failure
      return bounded(response, error => {
        failure = error
      })
    } catch (error) {
      if (!signal.aborted)
        failure = new ListingFailed('unreachable', `the MCP server cannot be reached${codeOf(error)}`)
      throw error
    }
  }
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: call })
  const client = new Client({ name: 'aibridge', version: '1' }, { versionNegotiation: { mode: 'auto' } })
  try {
    await client.connect(transport, { signal })
    const listed: ListedTools = { tools: [], unusable: 0 }
    const cursors = new Set<string>()
    for (let cursor: string | undefined; ; ) {
      const params = cursor === undefined ? {} : { cursor }
      const { tools, nextCursor } = await client.request({ method: 'tools/list', params }, page, { signal })
      for (const tool of tools) add(listed, tool, secrets)
      if (nextCursor === undefined) return listed
      if (cursors.has(nextCursor) || listed.tools.length + listed.unusable > adminLimits.maxMcpTools) {
        throw new ListingFailed(
          'too_large',
          `the list of tools has no end, or more than ${adminLimits.maxMcpTools} tools`,
        )
      }
      cursors.add(nextCursor)
      cursor = nextCursor
    }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof ListingFailed) throw error
    throw failure ?? new ListingFailed('no_mcp', 'the MCP server does not respond as MCP demands')
  } finally {
    // A server that is down, or has no sessions, has none to end.
    await transport.terminateSession().catch(() => {})
    await client.close().catch(() => {}) // nothing is left to close
  }
}

/** Characters of a name or a description that an operator gets to see. */
const maxTextLength = 1024

/** A server may repeat the token, which no operator sees. */
function add(listed: ListedTools, tool: unknown, secrets: readonly string[]): void {
  const { name, description } = isPlainObject(tool) ? tool : {}
  if (typeof name !== 'string' || name === '') {
    listed.unusable++
    return
  }
  const text = typeof description === 'string' ? description : ''
  const described = maskSecrets(text, secrets).slice(0, maxTextLength)
  listed.tools.push({ name: maskSecrets(name, secrets), description: described })
}

function failureOf(status: number): ListingFailed | undefined {
  if (status === 401) return new ListingFailed('unauthorized', 'the MCP server does not accept the token')
  if (status >= 300 && status < 400) {
    return new ListingFailed('redirect', 'the MCP server redirects, and no token follows a redirect')
  }
  // 405 is the response to an optional method; 404 and 400 are those of a server without the newest method.
  return status >= 400 && status !== 405
    ? new ListingFailed('status', `the MCP server responds with status ${status}`)
    : undefined
}

/** Copies a response, whose body fails above the limit. */
function bounded(response: Response, onFailure: (failure: ListingFailed) => void): Response {
  if (!response.body) return response
  const limit = adminLimits.maxMcpResponseBytes
  let bytes = 0
  const body = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.length
        if (bytes <= limit) return controller.enqueue(chunk)
        const failure = new ListingFailed('too_large', `a response is larger than ${limit.toLocaleString('en')} bytes`)
        onFailure(failure)
        controller.error(failure)
      },
    }),
  )
  const { status, statusText, headers } = response
  return new Response(body, { status, statusText, headers })
}

function codeOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? error.cause : undefined
  const code: unknown = cause instanceof Error ? Reflect.get(cause, 'code') : undefined
  return typeof code === 'string' ? ` (${code})` : ''
}
