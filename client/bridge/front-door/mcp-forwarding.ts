/** Forwards requests of MCP clients to MCP servers, with the user's token in place of the key. */
import { credentialHint } from '../../../shared/values/credential-hint.js'
import { withinDeadline } from '../control-plane/deadline.js'
import { type BegunCall, CallRecording } from '../mcp/call-recording.js'
import type { Posted, PostedCall } from '../mcp/client-messages.js'
import { type RpcFault, rpcErrorCodes, rpcErrorText } from '../mcp/rpc-error.js'
import { callServer, NoToken, rejectHiddenLoop, tokenFor } from '../mcp/server-call.js'
import { McpServerResponse, sessionHeader } from '../mcp/server-response.js'
import { maxServerSessionIdLength, sealSessionId } from '../mcp/session-ids.js'
import type { Session } from '../mcp/sessions.js'
import type { Failure } from '../providers/error-type.js'
import { toolCallFacts } from '../providers/requests/tool-call-facts.js'
import type { Recording } from '../recording/recorder.js'
import { Relay } from '../relay/relay.js'
import { UpstreamError } from '../relay/upstream-error.js'
import { headerTest, requestHeaders, withoutHeaders } from '../wire/headers.js'
import { Rejection } from '../wire/rejection.js'
import { secretsOf, shownKey } from './credentials.js'
import { describeError, failureOf, rejectionOf } from './error-response.js'
import type { Arrival } from './exchange.js'
import { admitMcp, type McpExchange, readMessages } from './mcp-request.js'
import { streamUntil } from './mcp-stream.js'

/** Serves a request to an MCP server. @throws Rejection, and the errors of the front door */
export async function serveMcp(arrival: Arrival): Promise<void> {
  const exchange = await admitMcp(arrival)
  const { parts, owner, server, response } = exchange
  const end = parts.mcp.begin(owner.ownerId)
  if (!end) {
    const message = `more than mcpMaxRequests ${parts.limits.mcpMaxRequests} requests of this user run at once`
    throw new Rejection(429, 'too_many_requests', message, { retryAfterSeconds: 1 })
  }
  const share = parts.bodyMemory.share(owner.ownerId)
  let label: string = exchange.method
  try {
    if (exchange.method !== 'POST') return await forward(exchange, undefined, nothing)
    const { body, posted } = await readMessages(exchange, share)
    label = posted.label
    const fault = faultOf(exchange, posted)
    if (fault) rejectMessages(exchange, posted, fault)
    else await forward(exchange, posted, body)
  } finally {
    end()
    share.release()
    const status = response.headersSent ? response.statusCode : 0
    parts.metrics.mcpRequest({ server: server.id, method: label, status })
  }
}

const nothing = Buffer.alloc(0)

/** Returns the error of messages with a call that is not allowed: none of a batch is run then. */
function faultOf({ parts, server }: McpExchange, { calls }: Posted): RpcFault | undefined {
  const offers = parts.mcp.directory.toolFilter(server)
  const rejected = calls.find(({ tool }) => tool === undefined || !offers(tool))
  if (!rejected) return undefined
  const { tool } = rejected
  const message =
    tool === undefined
      ? 'a call names no tool'
      : `the tool ${JSON.stringify(tool.slice(0, 256))} of the MCP server ${JSON.stringify(server.id)} is not offered`
  return { code: rpcErrorCodes.invalidParams, message, reason: 'tool_not_offered' }
}

/** Responds with an error to each request: with status 200, since clients show the message of such an error. */
function rejectMessages(exchange: McpExchange, { isBatch, requestIds }: Posted, fault: RpcFault): void {
  const { parts, response, cors, server, address } = exchange
  const { reason, message } = fault
  parts.metrics.rejected(reason)
  parts.logger.info({ reason: message, server: server.id, rejection: reason, address }, 'a request was rejected')
  const texts = requestIds.map(id => rpcErrorText(id, fault))
  const [only = rpcErrorText('null', fault)] = texts
  const body = isBatch && texts.length > 0 ? `[${texts.join(',')}]` : only
  const status = texts.length > 0 ? 200 : 403
  const headers = ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(body)), ...cors]
  response.writeHead(status, headers)
  response.end(body)
}

/** Calls the server, with a record of each call of a tool, and relays the response. */
async function forward(exchange: McpExchange, posted: Posted | undefined, body: Buffer): Promise<void> {
  const { parts, response, cors, owner, server, signal } = exchange
  const { mcp, limits } = parts
  let token: string | undefined
  const session = sessionOf(exchange, exchange.sessionId)
  const releases = session && mcp.sessions.knows(session) ? [mcp.sessions.use(session)] : []
  try {
    token = await withinDeadline(limits.controlPlaneDeadlineMs, exchange.abort, () =>
      tokenFor(mcp.directory, server, owner, signal),
    )
    rejectHiddenLoop(shownKey(exchange.credentials), token)
    if (posted?.initializes && !session) releases.push(placeForSession(exchange))
    const recording = await begin(exchange, posted?.calls ?? [], token, body.length)
    const relay = new Relay(response, {
      ...(recording && { observer: recording }),
      added: cors,
      clientTimeoutMs: limits.clientTimeoutMs,
    })
    try {
      await send(exchange, { posted, body, token, recording, releases }, relay)
    } catch (error) {
      await recording?.finish(failureOfCall(error))
      throw error
    } finally {
      await recording?.finish(undefined)
    }
  } catch (error) {
    if (response.headersSent || response.destroyed) return cutOff(exchange, posted, error)
    if (error instanceof NoToken && posted) return rejectMessages(exchange, posted, error.fault)
    throw ofServer(error)
  } finally {
    for (const release of releases) release()
  }
}

/** Returns whether the response is a stream of notifications; since version 2026-07-28 a request opens it. */
function isStream({ method }: McpExchange, posted: Posted | undefined): boolean {
  return method === 'GET' || posted?.method === 'subscriptions/listen'
}

function sessionOf({ owner, server }: McpExchange, id: string | undefined): Session | undefined {
  return id === undefined ? undefined : { userId: owner.ownerId, serverId: server.id, id }
}

/** @throws Rejection 429 if the user has too many sessions in use */
function placeForSession({ parts, owner }: McpExchange): () => void {
  const release = parts.mcp.sessions.reserve(owner.ownerId)
  if (release) return release
  const message = `all mcpMaxSessions ${parts.limits.mcpMaxSessions} MCP sessions of this user are in use; end one, or try again later`
  throw new Rejection(429, 'too_many_sessions', message, { retryAfterSeconds: 60 })
}

/** A request on its way to the server. */
interface Sending {
  posted: Posted | undefined
  body: Buffer
  token: string | undefined
  recording: CallRecording | undefined
  releases: (() => void)[]
}

async function send(exchange: McpExchange, sending: Sending, relay: Relay): Promise<void> {
  const { posted, body, token, recording, releases } = sending
  const { parts, method, owner, server, signal, sessionId } = exchange
  const { mcp, limits } = parts
  const mayList = method === 'GET' || (posted?.listsTools ?? false)
  const request = {
    server,
    owner,
    method,
    headers: headersFor(exchange),
    body,
    limits: { upstreamHeadersTimeoutMs: limits.mcpSessionIdleMs, upstreamIdleTimeoutMs: limits.mcpSessionIdleMs },
    onToken: (fresh: string) => recording?.hides(fresh),
  }
  const receive = () =>
    new McpServerResponse(relay, {
      offers: mayList ? mcp.directory.toolFilter(server) : undefined,
      maxMessageBytes: limits.mcpMaxMessageBytes,
      onHead: (status, id) => followSession(exchange, status, id, releases),
    })
  const call = (until: AbortSignal) => callServer({ ...mcp, upstream: parts.upstream }, request, token, receive, until)
  if (isStream(exchange, posted)) await streamUntil(exchange, call)
  else await call(signal)
  await relay.end(signal)
  const session = sessionOf(exchange, sessionId)
  if (method === 'DELETE' && session) mcp.sessions.end(session)
}

/** Follows the session through the head of a response, and returns its id as the client sees it. */
function followSession(
  exchange: McpExchange,
  status: number,
  id: string | undefined,
  releases: (() => void)[],
): string | undefined {
  const { parts, owner, server, sessionSecret, sessionId } = exchange
  const session = sessionOf(exchange, sessionId)
  if (status === 404 && session) parts.mcp.sessions.end(session)
  if (id === undefined || id.length > maxServerSessionIdLength) return undefined
  const opened = sessionOf(exchange, id)
  // The server knows the session, so this bridge may: an ended one must not take the place of another.
  if (session && status < 300 && !parts.mcp.sessions.knows(session)) releases.push(parts.mcp.sessions.use(session))
  if (opened && id !== sessionId && status < 300) {
    // The session takes the place that was kept for it.
    if (sessionId === undefined) for (const release of releases.splice(0)) release()
    releases.push(parts.mcp.sessions.use(opened))
  }
  return sealSessionId({ secret: sessionSecret, userId: owner.ownerId, serverId: server.id }, id)
}

/** The page that a browser shows is no business of the server: this bridge decides which pages may call. */
const isOfPage = headerTest(['origin', 'referer', 'sec-*'])

function headersFor({ parts, request, credentials, sessionId }: McpExchange): string[] {
  const passed = requestHeaders(withoutHeaders(request.rawHeaders, [sessionHeader]), {
    credential: [],
    withheld: name => isOfPage(name) || parts.withheldHeaders(name),
    key: shownKey(credentials),
  })
  return sessionId === undefined ? passed : [...passed, sessionHeader, sessionId]
}

/** Records the beginning of each call. @throws Rejection if one could not be recorded; the others then get an end */
async function begin(
  exchange: McpExchange,
  calls: readonly PostedCall[],
  token: string | undefined,
  requestBytes: number,
): Promise<CallRecording | undefined> {
  const { parts, abort, server } = exchange
  if (calls.length === 0) return undefined
  const begun = await withinDeadline(parts.limits.controlPlaneDeadlineMs, abort, () =>
    Promise.allSettled(calls.map(call => beginOne(exchange, call, token, requestBytes))),
  )
  const known = begun.flatMap((result, index): BegunCall[] => {
    const call = calls[index]
    return result.status === 'fulfilled' && call ? [{ call, recording: result.value }] : []
  })
  const recording = new CallRecording({
    calls: known,
    serverUrl: shownUrl(server.url),
    maxBytes: parts.limits.maxInspectedBytes,
    onEnd: (outcome, seconds) => parts.metrics.mcpCall({ server: server.id, outcome, seconds }),
  })
  const failed = begun.find(result => result.status === 'rejected')
  if (!failed) return recording
  await recording.finish({ type: 'unknown', message: 'another call of the batch could not be recorded' })
  throw failed.reason
}

function beginOne(
  { parts, request, owner, server, credentials, startedAt, arrivedAt, signal }: McpExchange,
  call: PostedCall,
  token: string | undefined,
  requestBytes: number,
): Promise<Recording> {
  const facts = { model: call.tool ?? '', ...toolCallFacts(request.headers, call.meta) }
  const start = {
    owner,
    provider: { type: 'mcp', name: server.id },
    kind: 'mcp' as const,
    request: facts,
    credentialKind: 'centralized' as const,
    credentialHint: token === undefined ? undefined : credentialHint(token),
    secrets: [...secretsOf(credentials, request.headers), ...(token === undefined ? [] : [token])],
    client: facts.client,
    userAgent: request.headers['user-agent'],
    requestBytes,
    startedAt,
    arrivedAt,
  }
  return parts.recorder.begin(start, signal)
}

/** Returns a URL without the parts that may hold a secret. */
function shownUrl(url: string): string {
  const { origin, pathname } = new URL(url)
  return origin + pathname
}

/** Returns the error of a call to an MCP server as the front door shows it. */
function ofServer(error: unknown): unknown {
  if (error instanceof NoToken) return new Rejection(403, error.fault.reason, error.message)
  if (!(error instanceof UpstreamError) || error.failure === 'aborted') return error
  const { status } = rejectionOf(error)
  return new Rejection(status, 'mcp_server_failed', messageOf(error), { cause: error.cause })
}

/** Returns the failure that is recorded for a call. */
function failureOfCall(error: unknown): Failure {
  if (error instanceof NoToken) return { type: 'unauthorized', message: error.message }
  const failure = failureOf(error)
  return error instanceof UpstreamError ? { ...failure, message: messageOf(error) } : failure
}

/** The errors of the relay speak of providers. */
function messageOf({ message }: UpstreamError): string {
  return message.replace('the provider', 'the MCP server')
}

/** Cuts off a response that cannot be ended: the client must not take it for whole. */
function cutOff(exchange: McpExchange, posted: Posted | undefined, error: unknown): void {
  const { parts, response, server, signal } = exchange
  const fields = { ...describeError(error), server: server.id }
  // Clients end streams by leaving them.
  if (signal.aborted && isStream(exchange, posted)) parts.logger.debug(fields, 'a client left its stream')
  else if (signal.aborted) parts.logger.info(fields, 'a response was cut off')
  else parts.logger.warn(fields, 'a response was cut off')
  response.destroy()
}
