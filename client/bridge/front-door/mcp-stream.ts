/** Streams of an MCP server that end only when somebody ends them. */
import { errorCodeOf, mayHaveRunOf } from '../../../shared/rpc/errors.js'
import { hashOf } from '../control-plane/authorization-cache.js'
import { UpstreamError } from '../relay/upstream-error.js'
import type { McpExchange } from './mcp-request.js'

/** The reason of a stream that this side ends, as a server may end it too: its client opens another one. */
class StreamEnd extends Error {
  override readonly name = 'StreamEnd'
}

/**
 * Passes a stream on until its server ends it or is silent for too long, the client leaves, the daemon closes, or the
 * key is not good any more. Resolves when the client's response may end.
 */
export async function streamUntil(exchange: McpExchange, run: (until: AbortSignal) => Promise<void>): Promise<void> {
  const { parts, signal, response } = exchange
  const stream = new AbortController()
  const end = (reason: string) => stream.abort(new StreamEnd(reason))
  const onLeave = () => stream.abort(signal.reason)
  const onClose = () => end('the bridge is shutting down')
  const { closing } = parts.mcp
  if (signal.aborted) onLeave()
  else if (closing.aborted) onClose()
  signal.addEventListener('abort', onLeave, { once: true })
  closing.addEventListener('abort', onClose, { once: true })
  const timer = setInterval(async () => {
    if (!(await isStillGood(exchange))) end('the key is not authorized any more')
  }, parts.limits.mcpStreamCheckMs)
  try {
    await run(stream.signal)
  } catch (error) {
    const isEnded = stream.signal.reason instanceof StreamEnd
    const isSilent = error instanceof UpstreamError && error.failure === 'idle_timeout'
    if (!response.headersSent || !(isEnded || isSilent)) throw error
  } finally {
    clearInterval(timer)
    signal.removeEventListener('abort', onLeave)
    closing.removeEventListener('abort', onClose)
  }
}

/** Returns whether key and server are still the user's. A control plane that cannot be reached changes nothing. */
async function isStillGood({ parts, credentials, owner, server }: McpExchange): Promise<boolean> {
  try {
    await parts.authorizations.authorize(credentials.identification, hashOf(credentials.identification))
    const servers = await parts.mcp.directory.servers(owner.ownerId)
    return servers.some(({ id, url }) => id === server.id && url === server.url)
  } catch (error) {
    const isRejected =
      mayHaveRunOf(error) === undefined && ['UNAUTHORIZED', 'FORBIDDEN'].includes(errorCodeOf(error) ?? '')
    return !isRejected
  }
}
