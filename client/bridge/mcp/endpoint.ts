import type { Logger } from '../../../shared/values/log.js'
import { outgoingBody } from '../relay/outgoing-body.js'
import type { Upstream } from '../relay/upstream.js'
import { ownHeaders } from './server-call.js'
import type { ServerDirectory } from './server-directory.js'
import { sessionHeader } from './server-response.js'
import { type Session, Sessions } from './sessions.js'

/** Options of {@link McpEndpoint}. */
export interface McpEndpointOptions {
  directory: ServerDirectory
  upstream: Upstream
  logger: Logger
  limits: { mcpMaxSessions: number; mcpSessionIdleMs: number; mcpMaxRequests: number }
}

/** Time for the end of a session at its server, which nobody waits for. */
const endTimeoutMs = 10_000

/** The state of a daemon's MCP endpoint: sessions, streams and requests of its users. */
export class McpEndpoint {
  readonly directory: ServerDirectory
  readonly sessions: Sessions
  readonly #options: McpEndpointOptions
  readonly #closing = new AbortController()
  readonly #requests = new Map<string, number>()
  readonly #ends = new Set<Promise<void>>()

  constructor(options: McpEndpointOptions) {
    this.#options = options
    this.directory = options.directory
    const { mcpMaxSessions: maxPerUser, mcpSessionIdleMs: idleMs } = options.limits
    this.sessions = new Sessions({ maxPerUser, idleMs, onGivenUp: session => this.#endAtServer(session) })
  }

  /** aborts when the daemon closes: streams that would never end by themselves end then */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /** Counts a request of a user until the returned function is called; undefined if too many of them run. */
  begin(userId: string): (() => void) | undefined {
    const running = this.#requests.get(userId) ?? 0
    if (running >= this.#options.limits.mcpMaxRequests) return undefined
    this.#requests.set(userId, running + 1)
    return () => {
      const left = (this.#requests.get(userId) ?? 1) - 1
      if (left > 0) this.#requests.set(userId, left)
      else this.#requests.delete(userId)
    }
  }

  /** Ends streams, which would hold up the end of a daemon. */
  endStreams(): void {
    this.#closing.abort(new Error('the bridge is shutting down'))
  }

  /** Forgets sessions; they go on at their servers. Resolves when no request of the endpoint itself is under way. */
  async close(): Promise<void> {
    this.endStreams()
    this.sessions.close()
    this.directory.close()
    await Promise.all(this.#ends)
  }

  #endAtServer(session: Session): void {
    if (this.#closing.signal.aborted) return
    const end = this.#delete(session)
      .catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error)
        this.#options.logger.debug({ server: session.serverId, reason }, 'an unused MCP session could not be ended')
      })
      .finally(() => this.#ends.delete(end))
    this.#ends.add(end)
  }

  async #delete({ userId, serverId, id }: Session): Promise<void> {
    const { directory, upstream } = this.#options
    const timeout = new AbortController()
    const onClose = () => timeout.abort(this.#closing.signal.reason)
    this.#closing.signal.addEventListener('abort', onClose, { once: true })
    const timer = setTimeout(() => timeout.abort(new Error('the MCP server did not respond in time')), endTimeoutMs)
    try {
      const servers = await directory.servers(userId, timeout.signal)
      const server = servers.find(known => known.id === serverId)
      const found = await directory.token(userId, serverId, { signal: timeout.signal })
      if (!server || 'error' in found) return
      const { origin, pathname, search } = new URL(server.url)
      const credential = found.token === undefined ? [] : ['authorization', `Bearer ${found.token}`]
      const headers = [...ownHeaders, sessionHeader, id, ...credential]
      const request = { origin, path: pathname + search, method: 'DELETE', headers, body: outgoingBody([]) }
      await upstream.send(request, { head() {}, chunk: () => undefined }, timeout.signal)
    } finally {
      clearTimeout(timer)
      this.#closing.signal.removeEventListener('abort', onClose)
    }
  }
}
