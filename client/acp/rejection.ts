/** Errors of responses with a status that is no success. */
import type { IncomingHttpHeaders } from 'node:http'
import { type AcpReason, acpReasons } from '../../shared/acp/errors.js'
import { isObject } from '../../shared/acp/messages.js'
import { type ErrorCode, errorCodes, RpcError } from '../../shared/rpc/errors.js'

/** The response to a rejected request or upgrade. */
export interface RejectedResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** the beginning of the body */
  readonly text: string
}

/** The text of a body that messages repeat, in UTF-16 code units. */
const shownLength = 200

/**
 * Makes the error of a rejection: with the server's reason if {@link acpReasons} lists it, else with http_rejected and
 * the beginning of the body.
 */
export class HttpRejection extends RpcError<string> {
  readonly status: number
  /** the pause that the server asks for, in milliseconds */
  readonly retryAfterMs: number | undefined

  constructor(what: string, { status, headers, text }: RejectedResponse) {
    const { message, reason } = readBody(text)
    const problem = `${what}: the server responded with ${status}${message === '' ? '' : `: ${message}`}`
    // A proxy that responds in the server's place may have passed the request on; a server without room has not.
    const mayHaveRun = status >= 500 && status !== 503
    const cause = new Error(`HTTP ${status}: ${text.slice(0, shownLength)}`)
    super(codeOf(status), problem, { reason: reason ?? 'http_rejected', mayHaveRun, cause })
    this.status = status
    const retryAfter = /^\d{1,9}$/.exec(headers['retry-after'] ?? '')
    this.retryAfterMs = retryAfter ? Number(retryAfter[0]) * 1000 : undefined
  }

  /** Whether no repeat helps: the credentials are rejected, or the connection has gone. */
  get isFinal(): boolean {
    return finalStatuses.has(this.status) && this.reason !== 'unknown_session'
  }
}

const finalStatuses = new Set([401, 403, 404, 410])

function readBody(text: string): { message: string; reason: AcpReason | undefined } {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    body = undefined
  }
  const reason = isObject(body) && typeof body.reason === 'string' ? body.reason : ''
  return {
    message: (isObject(body) && typeof body.message === 'string' ? body.message : text.trim()).slice(0, shownLength),
    reason: Object.hasOwn(acpReasons, reason) ? (reason as AcpReason) : undefined, // checked on this line
  }
}

/** Returns the first code of the list with a status; other statuses of clients are bad requests. */
function codeOf(status: number): ErrorCode {
  const found = Object.entries(errorCodes).find(([name, info]) => info.status === status && name !== 'PARSE_ERROR')
  if (found) return found[0] as ErrorCode // a key of the table
  if (status === 410) return 'NOT_FOUND'
  return status >= 500 ? 'SERVICE_UNAVAILABLE' : 'BAD_REQUEST'
}
