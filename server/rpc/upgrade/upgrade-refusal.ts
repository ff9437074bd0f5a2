import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { errorCodes, RpcError, transportError } from '../../../shared/rpc/errors.js'
import { times } from '../../../shared/rpc/limits.js'
import { formatVersion, parseVersion, type Version, versionProblem } from '../../../shared/rpc/version.js'

/** What a refusal says beside its message and reason. */
export interface UpgradeDetails {
  clientVersion?: string
  serverVersion?: string
  /** under which the server's log has the cause */
  requestId?: string
}

/**
 * Answers an upgrade with a status and JSON `{message, reason}`, and ends the socket. There is no `ServerResponse` for an upgrade, so the
 * answer is written by hand. Of an error that is no RpcError nothing is told.
 */
export function refuseUpgrade(socket: Socket, thrown: unknown, details: UpgradeDetails = {}): void {
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

/** Why a client of this version is refused; undefined if it is not. */
export interface VersionMismatch {
  error: RpcError
  details: UpgradeDetails
}

/** Checks the version that a client names; a stock client names none and speaks 1.0. */
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
  const error = new RpcError(reason === 'server_older' ? 'CONFLICT' : 'BAD_REQUEST', message, { reason })
  return { error, details: { clientVersion, serverVersion } }
}
