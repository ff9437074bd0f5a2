/** Admits a request to an MCP server, and reads its messages. */
import type { Authorization } from '../../../shared/contract/authorizer.js'
import type { McpServerConfig } from '../../../shared/contract/mcp-configurator.js'
import { type Posted, readPosted } from '../mcp/client-messages.js'
import { openSessionId } from '../mcp/session-ids.js'
import { controlPlaneUnreachable, Rejection } from '../wire/rejection.js'
import { givenCredentials, lookUp } from './admission.js'
import type { BodyShare } from './body/body-memory.js'
import { readBody } from './body/request-body.js'
import type { Credentials } from './credentials.js'
import type { Arrival } from './exchange.js'

/** Methods of the transport. */
const methods = ['GET', 'POST', 'DELETE'] as const

/** An admitted request to an MCP server. */
export interface McpExchange extends Arrival {
  method: (typeof methods)[number]
  credentials: Credentials
  owner: Authorization
  server: McpServerConfig
  sessionSecret: Buffer
  /** the session as the server names it */
  sessionId: string | undefined
}

/**
 * Admits a request to an MCP server.
 * @throws Rejection in the order of the checks, so that unauthenticated clients learn nothing about servers
 */
export async function admitMcp(arrival: Arrival): Promise<McpExchange> {
  const { parts, request, mcpServer: name = '' } = arrival
  const credentials = givenCredentials(arrival)
  const { owner, found } = await lookUp(arrival, credentials, user => findServer(arrival, user.ownerId))
  if (!found.server) throw new Rejection(404, 'unknown_mcp_server', `no MCP server is named ${JSON.stringify(name)}`)
  const method = methods.find(known => known === request.method)
  if (!method) throw new Rejection(405, 'method_not_allowed', `an MCP server takes ${methods.join(', ')}`)
  if (!URL.canParse(found.server.url)) {
    parts.logger.warn({ server: name }, 'an MCP server without a usable URL cannot be called')
    throw new Rejection(502, 'mcp_server_failed', `the URL of the MCP server ${JSON.stringify(name)} is not usable`)
  }
  const { sessionSecret } = found
  const sessionId = openSession(arrival, { secret: sessionSecret, userId: owner.ownerId, serverId: name })
  // The spread comes last: behind one, V8 makes a hidden class for each object (findings/hidden-classes.sh).
  return { method, credentials, owner, server: found.server, sessionSecret, sessionId, ...arrival }
}

async function findServer({ parts, mcpServer }: Arrival, userId: string) {
  const { directory } = parts.mcp
  try {
    const servers = await directory.servers(userId)
    return {
      server: servers.find(({ id }) => id === mcpServer),
      sessionSecret: await directory.sessionSecret(userId),
    }
  } catch (error) {
    throw controlPlaneUnreachable(error)
  }
}

/** @throws Rejection 404 for a session of another user or server, upon which clients open another one */
function openSession({ request }: Arrival, place: Parameters<typeof openSessionId>[0]): string | undefined {
  const given = request.headers['mcp-session-id']
  if (given === undefined) return undefined
  const id = openSessionId(place, String(given))
  if (id === undefined) throw new Rejection(404, 'unknown_session', 'there is no such session; open another one')
  return id
}

/** The messages of a POST. */
export interface PostedBody {
  body: Buffer
  posted: Posted
}

/**
 * Reads the messages of a POST.
 * @throws Rejection 413 for a body that is too large, 415 for one that is no plain JSON in UTF-8, 400 for one that is
 *   no message or contradicts its headers
 */
export async function readMessages(exchange: McpExchange, share: BodyShare): Promise<PostedBody> {
  const { parts, request, signal } = exchange
  const { mcpMaxMessageBytes: maxBytes, bodyTimeoutMs: timeoutMs } = parts.limits
  rejectOtherTypes(exchange)
  const body = await readBody(request, { maxBytes, timeoutMs, share }, signal).catch(withOwnLimit)
  const posted = readPosted(body)
  rejectContradiction(exchange, posted)
  return { body, posted }
}

/** Names the limit of messages in place of that of requests to models. */
function withOwnLimit(error: unknown): never {
  if (!(error instanceof Rejection) || error.reason !== 'body_too_large') throw error
  throw new Rejection(error.status, error.reason, error.message.replace('maxBodyBytes', 'mcpMaxMessageBytes'))
}

/** A server may read other encodings differently than the bridge, which would get a call past the filter of tools. */
function rejectOtherTypes({ request: { headers } }: McpExchange): void {
  const encoding = headers['content-encoding'] ?? 'identity'
  const [type = '', ...parameters] = (headers['content-type'] ?? '').toLowerCase().split(';')
  const isUtf8 = parameters.every(text => !text.includes('charset') || /^\s*charset\s*=\s*"?utf-8"?\s*$/.test(text))
  if (type.trim() === 'application/json' && isUtf8 && encoding.trim().toLowerCase() === 'identity') return
  throw new Rejection(415, 'body_not_json', 'a message must be application/json in UTF-8, without an encoding')
}

/** In protocol version 2026-07-28 headers repeat the method and the tool's name; a server may read those alone. */
function rejectContradiction({ request: { headers } }: McpExchange, { isBatch, method, calls }: Posted): void {
  const [named, tool] = [headers['mcp-method'], headers['mcp-name']]
  if (named === undefined && tool === undefined) return
  const isSame = !isBatch && (named === undefined || named === method)
  const [call] = calls
  const isSameTool = tool === undefined || !call || decodedName(String(tool)) === call.tool
  if (isSame && isSameTool) return
  throw new Rejection(400, 'body_not_json', 'the headers Mcp-Method and Mcp-Name do not name the method and the tool')
}

/** Names that a header cannot carry are written in base64. */
function decodedName(text: string): string {
  const [, encoded] = /^=\?base64\?(.*)\?=$/.exec(text.trim()) ?? []
  return encoded === undefined ? text.trim() : Buffer.from(encoded, 'base64').toString()
}
