/** JSON-RPC errors of the bridge itself (https://www.jsonrpc.org/specification#error_object). */
import type { RejectionReason } from '../wire/rejection.js'

/** The codes of the bridge's own errors: of JSON-RPC's, and the first that is left to servers. */
export const rpcErrorCodes = { parse: -32700, invalidRequest: -32600, invalidParams: -32602, server: -32000 } as const

/** A JSON-RPC error. */
export interface RpcFault {
  code: number
  message: string
  reason: RejectionReason
}

/**
 * Returns the JSON text of an error response.
 * @param id JSON text of the request's id; `null` if the request has none
 */
export function rpcErrorText(id: string, { code, message, reason }: RpcFault): string {
  const error = { code, message, data: { reason } }
  return `{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify(error)}}`
}
