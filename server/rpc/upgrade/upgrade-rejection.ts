import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { errorCodes, RpcError, transportError } from '../../../shared/rpc/errors.js'
import { times } from '../../../shared/rpc/limits.js'
import { formatVersion, parseVersion, type Version, versionProblem } from '../../../shared/rpc/version.js'

/** Fields of a rejection beside its message and reason. */
export interface UpgradeDetails {
  clientVersion?: string
  serverVersion?: string
  /** the id under which the server's log has the cause */
  requestId?: string
}

/**
 * Sends the rejection of an upgrade, a status and JSON `{message, reason}`, and ends the socket. Node has no
 * `ServerResponse` for an upgrade, so the response is written by hand. An error that is no RpcError becomes 500 without
 * its message.
 */
export function rejectUpgrade(socket: Socket, thrown: unknown, details: UpgradeDetails = {}): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const { code, message, reason } = RpcError.from(thrown)
  const { status } = errorCodes[code]
  const body = JSON.stringify({ message, ...(reason !== undefined && { reason }), ...details })
  const retryAfter = status === 503 ? `retry-after: ${Math.ceil(times.retryAfterMs / 1000)}\r\n` : ''
  socket.once('finish', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json\r\ncache-control: no-store\r\n` +
      `${retryAfter}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

/** The rejection of a client because of its version. */
export interface VersionMismatch {
  error: RpcError
  details: UpgradeDetails
}

/**
 * Checks the version that a client names; a stock client names none and counts as 1.0. Returns undefined for a version
 * that fits.
 */
export function checkVersion(given: string | null, server: Version): VersionMismatch | undefined {
  const serverVersion = formatVersion(server)
  const client = parseVersion(given ?? '1.0')
  if (!client) {
    const error = transportError('version_malformed', 'version must be MAJOR.MINOR')
    return { error, details: { serverVersion } }
  }
  const reason = versionProblem(client, server)
  if (!reason) return undefined
  const clientVersion = formatVersion(client)
  const message = `a client of version ${clientVersion} cannot talk to this server of version ${serverVersion}`
  return { error: transportError(reason, message), details: { clientVersion, serverVersion } }
}
