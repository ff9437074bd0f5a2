/** The headers of the protocol. */
import type { IncomingMessage } from 'node:http'
import { acpError } from '../../../shared/acp/errors.js'
import { maxIdLength } from '../../../shared/acp/limits.js'
import { type AcpMessage, isResponse, scopeOf, sessionIdOf } from '../../../shared/acp/messages.js'

/** Names the connection, in the response to `initialize` and in all later requests. */
export const connectionHeader = 'Acp-Connection-Id'

/** Returns the connection that a request names. */
export function connectionIdOf({ headers }: IncomingMessage): string | undefined {
  return single(headers['acp-connection-id'])
}

/**
 * Returns the session that a request names.
 * @throws RpcError `BAD_REQUEST` (invalid_request) for a long id
 */
export function sessionHeaderOf({ headers }: IncomingMessage): string | undefined {
  const sessionId = single(headers['acp-session-id'])
  if (sessionId !== undefined && sessionId.length > maxIdLength) {
    throw acpError('invalid_request', `Acp-Session-Id of ${sessionId.length} characters is longer than ${maxIdLength}`)
  }
  return sessionId
}

/** Returns the event behind which a stream goes on. */
export function lastEventIdOf({ headers }: IncomingMessage): string | undefined {
  return single(headers['last-event-id'])
}

function single(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/**
 * Returns the cookie by which a proxy finds the process of a connection. Pages of other sites cannot send it, and no
 * page can read it.
 */
export function replicaCookie(replicaId: string, path: string): string {
  return `aibridge_replica=${replicaId}; HttpOnly; SameSite=Strict; Path=${path}`
}

/**
 * Returns the session of a message of the client, undefined for a message of the connection.
 * @param awaited the session in which the agent awaits this response, null if it awaits no such response
 * @throws RpcError `BAD_REQUEST` (session_id_missing, session_id_differs)
 */
export function sessionOfMessage(
  message: AcpMessage,
  header: string | undefined,
  awaited: string | undefined | null,
): string | undefined {
  if (isResponse(message)) {
    if (typeof awaited === 'string') checkHeader(header, awaited)
    return undefined
  }
  if (scopeOf(message, 'client') === 'connection') return undefined
  return checkHeader(header, sessionIdOf(message))
}

/** Returns the header, which must be there and be the session of the message, if the message names one. */
function checkHeader(header: string | undefined, sessionId: string | undefined): string {
  if (header === undefined) throw acpError('session_id_missing', 'the header Acp-Session-Id is missing')
  if (sessionId !== undefined && sessionId !== header) {
    throw acpError('session_id_differs', 'Acp-Session-Id differs from the session of the message')
  }
  return header
}
