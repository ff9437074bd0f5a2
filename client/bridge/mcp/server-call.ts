/** Calls an MCP server in the name of a user. */
import type { Authorization } from '../../../shared/contract/authorizer.js'
import type { AccessTokenError, McpServerConfig } from '../../../shared/contract/mcp-configurator.js'
import { outgoingBody } from '../relay/outgoing-body.js'
import type { Upstream } from '../relay/upstream.js'
import type { UpstreamLimits } from '../relay/upstream-call.js'
import { loopHeader } from '../wire/headers.js'
import { loopRejection, Rejection, type RejectionReason } from '../wire/rejection.js'
import type { RpcFault } from './rpc-error.js'
import { rpcErrorCodes } from './rpc-error.js'
import type { ServerDirectory } from './server-directory.js'
import type { McpServerResponse, Unusable } from './server-response.js'

/** One request to an MCP server. */
export interface ServerRequest {
  server: McpServerConfig
  owner: Authorization
  method: 'GET' | 'POST' | 'DELETE'
  /** without credentials; names and values alternate */
  headers: readonly string[]
  body: Buffer
  limits?: Partial<UpstreamLimits>
  /** takes a token that was read again, before it is sent */
  onToken?: ((token: string) => void) | undefined
}

/** A user has no token that the server accepts. */
export class NoToken extends Error {
  override readonly name = 'NoToken'
  readonly fault: RpcFault

  constructor(fault: RpcFault) {
    super(fault.message)
    this.fault = fault
  }
}

/** The parts of a daemon that call an MCP server. */
export interface ServerCallParts {
  directory: ServerDirectory
  upstream: Upstream
}

/**
 * Calls a server and passes its response on. A token that the server rejects is read again once, and the request is
 * repeated with the new one: a server that rejects a token has not run the request.
 * @param token as {@link tokenFor} returned it
 * @param receive makes the receiver of a response
 * @throws NoToken if no token is accepted; Rejection 502 if the response must not pass; UpstreamError
 */
export async function callServer(
  { directory, upstream }: ServerCallParts,
  request: ServerRequest,
  token: string | undefined,
  receive: () => McpServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const { server, owner } = request
  for (let given = token, isLast = token === undefined; ; isLast = true) {
    const response = receive()
    try {
      await upstream.send(upstreamRequest(request, given), response, signal)
      await response.flush()
      return
    } catch (error) {
      if (signal.aborted || response.unusable === undefined) throw error
      if (response.unusable !== 'unauthorized') throw unusable(server, response.unusable)
      const again = isLast ? undefined : await directory.token(owner.ownerId, server.id, { rejected: given, signal })
      if (again === undefined || 'error' in again) {
        const reason = again?.error ?? (token === undefined ? 'no_link' : 'expired_or_invalid')
        throw noToken(server, owner, reason)
      }
      given = again.token
      if (given !== undefined) request.onToken?.(given)
    }
  }
}

/**
 * Returns the user's token for a server; undefined for a server that needs none.
 * @throws NoToken, and the errors of the directory
 */
export async function tokenFor(
  directory: ServerDirectory,
  server: McpServerConfig,
  owner: Authorization,
  signal: AbortSignal,
): Promise<string | undefined> {
  const found = await directory.token(owner.ownerId, server.id, { signal })
  if ('error' in found) throw noToken(server, owner, found.error)
  return found.token
}

function upstreamRequest(request: ServerRequest, token: string | undefined) {
  const { server, method, headers, body, limits } = request
  const { origin, pathname, search } = new URL(server.url)
  const credential = token === undefined ? [] : ['authorization', `Bearer ${token}`]
  return {
    origin,
    path: pathname + search,
    method,
    headers: [...headers, ...credential],
    body: outgoingBody(method === 'POST' ? [body] : []),
    limits,
  }
}

/** The headers that a request of the bridge's own needs. */
export const ownHeaders: readonly string[] = ['accept-encoding', 'identity', loopHeader, '1']

function noToken(server: McpServerConfig, { username }: Authorization, reason: AccessTokenError): NoToken {
  const [user, name] = [JSON.stringify(username), JSON.stringify(server.id)]
  const link = `aibridge mcp link ${server.id} --user ${username} --access-token-env VARIABLE`
  const messages: Record<AccessTokenError, string> = {
    unknown_server: `there is no MCP server ${name}`,
    no_link: `the user ${user} is not linked to the MCP server ${name}; an operator links them: ${link}`,
    expired_or_invalid: `the MCP server ${name} does not accept the token of the user ${user}; an operator links them again: ${link}`,
    validation_failed: `the token of the user ${user} for the MCP server ${name} could not be checked; try again later, or link them again: ${link}`,
    timed_out: `the token of the user ${user} for the MCP server ${name} was not checked in time; try again later`,
  }
  return new NoToken({ code: rpcErrorCodes.server, message: messages[reason], reason: tokenReasons[reason] })
}

const tokenReasons: Readonly<Record<AccessTokenError, RejectionReason>> = {
  unknown_server: 'unknown_mcp_server',
  no_link: 'mcp_no_link',
  expired_or_invalid: 'mcp_token_rejected',
  validation_failed: 'mcp_token_unchecked',
  timed_out: 'mcp_token_unchecked',
}

function unusable({ id }: McpServerConfig, cause: Exclude<Unusable, 'unauthorized'>): Rejection {
  const name = JSON.stringify(id)
  const messages = {
    redirect: `the MCP server ${name} redirects, and no token follows a redirect: its URL must be the one that responds`,
    unreadable: `the response of the MCP server ${name} cannot be read`,
    too_large: `a message of the MCP server ${name} is too large to be read`,
  }
  return new Rejection(502, 'mcp_server_failed', messages[cause])
}

/**
 * Rejects a request whose key is the token for the server, which is then a bridge: the request may come from that
 * bridge, through a proxy that dropped the header which says so.
 */
export function rejectHiddenLoop(key: string | undefined, token: string | undefined): void {
  if (key !== undefined && key === token) {
    throw loopRejection('this request has the token for the MCP server, which is a key of an aibridge')
  }
}
