/** Checks the response to `initialize`, of whose sender nothing is known yet. */
import { acpError } from '../../shared/acp/errors.js'
import {
  type AcpRequest,
  type AcpResponse,
  checkMessage,
  idKey,
  isObject,
  isResponse,
} from '../../shared/acp/messages.js'

/**
 * Returns the response to a request.
 * @throws RpcError response_invalid, response_id_differs, protocol_version
 */
export function checkInitializeResponse(value: unknown, request: AcpRequest): AcpResponse {
  let response: AcpResponse
  try {
    const message = checkMessage(value)
    if (!isResponse(message)) throw acpError('response_invalid', 'the response to initialize has a method')
    response = message
  } catch (cause) {
    throw acpError('response_invalid', `the response to initialize is none of JSON-RPC: ${messageOf(cause)}`, { cause })
  }
  // An error about a message whose id could not be read has none.
  if (response.id !== null && idKey(response.id) !== idKey(request.id)) {
    const [got, sent] = [JSON.stringify(response.id), JSON.stringify(request.id)]
    throw acpError('response_id_differs', `the response to initialize has the id ${got}, the request has ${sent}`)
  }
  checkProtocolVersion(response)
  return response
}

/** The version of the protocol that this client speaks. */
const protocolVersion = 1

/** @throws RpcError protocol_version for a result with another version */
function checkProtocolVersion({ result, error }: AcpResponse): void {
  if (error !== undefined) return
  const version = isObject(result) ? result.protocolVersion : undefined
  if (version === protocolVersion) return
  const shown = JSON.stringify(version)?.slice(0, 40)
  throw acpError('protocol_version', `the agent speaks protocol version ${shown}, this client ${protocolVersion}`)
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
