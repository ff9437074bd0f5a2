/** The close reasons of a client's own errors. */
import { type CloseReason, closeCodes } from '../../shared/rpc/duplex.js'
import type { RpcError } from '../../shared/rpc/errors.js'

const protocolReasons = new Set([
  'invalid_event',
  'response_not_json',
  'response_invalid',
  'response_id_differs',
  'response_without_connection',
  'protocol_version',
])

/** Returns the close reason of an error. */
export function closeReasonOf({ code, message, reason }: RpcError<string>): CloseReason {
  const close = (number: number): CloseReason => ({ code: number, message, ...(reason !== undefined && { reason }) })
  if (code === 'UNAUTHORIZED') return close(closeCodes.unauthorized)
  if (code === 'FORBIDDEN') return close(closeCodes.forbidden)
  if (reason !== undefined && protocolReasons.has(reason)) return close(closeCodes.protocolError)
  return close(code === 'PAYLOAD_TOO_LARGE' ? closeCodes.messageTooLarge : closeCodes.abnormal)
}
