/** How commands call a running server: the `admin` router over the WebSocket link, with the admin token. */
import { TRPCClientError } from '@trpc/client'
import { type BridgeClient, dialRemote } from '../../client/bridge-client.js'
import { createDuplexClient } from '../../client/rpc/client.js'
import { connect } from '../../client/rpc/connection.js'
import { DialError } from '../../client/rpc/errors.js'
import { errorCodeOf, errorReasonOf, RpcError } from '../../shared/rpc/errors.js'
import { transformer } from '../../shared/rpc/transformer.js'
import { adminTokenFrom, clientAddress } from '../config/config.js'
import type { Address } from '../config/settings.js'
import { buildVersion } from '../process/build-version.js'
import { addressFlags, invocation } from '../process/invocation.js'
import { readAdminToken, secretFiles } from '../process/secrets.js'
import type { AppRouter } from '../routers/app.js'
import type { CommonOptions } from './options.js'

/** The `admin` router's procedures. */
export type AdminClient = BridgeClient['admin']

/** What a server refuses as it refuses any wrong token. */
const noToken = 'none'

/**
 * Runs `work` with a client of the server that the options name.
 * @throws RpcError with the server's code and reason; `SERVICE_UNAVAILABLE` (server_unreachable) if no aibridge answers there; `TIMEOUT`
 * if a call takes longer than 30 s; `BAD_REQUEST` (config_invalid) for an option
 */
export async function withAdmin<T>(options: CommonOptions, work: (admin: AdminClient) => Promise<T>): Promise<T> {
  const address = clientAddress({ ...options }, process.env)
  const token = adminTokenFrom(process.env) ?? (await readAdminToken(address.dataDir))
  // Asked without a token too: whether a server is there, and what it says, is the better answer.
  const dial = dialRemote({ url: urlOf(address), key: token ?? noToken, buildVersion: buildVersion() })
  let refused: DialError | undefined
  let wasOpen = false
  const connection = connect({
    // Somebody waits for this command: where a daemon would try again, it says why it cannot. A server that was there may come back.
    dial: async info => {
      try {
        const duplex = await dial(info)
        wasOpen = true
        return duplex
      } catch (error) {
        if (!(error instanceof DialError) || wasOpen) throw error
        refused = error
        throw new DialError(error.message, { fatal: true, cause: error })
      }
    },
  })
  try {
    return await work(createDuplexClient<AppRouter>({ connection, transformer }).admin)
  } catch (error) {
    if (refused) throw refusal(refused, address, token)
    if (!(error instanceof TRPCClientError)) throw error
    throw answered(error)
  } finally {
    await connection.close()
  }
}

/** The URL that reaches a server which listens on this host and port. */
export function urlOf({ host, port }: Pick<Address, 'host' | 'port'>): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function answered(error: TRPCClientError<AppRouter>): RpcError {
  const code = errorCodeOf(error) ?? 'INTERNAL_SERVER_ERROR'
  const reason = errorReasonOf(error)
  const requestId: unknown = Reflect.get(Object(error.data), 'requestId')
  const message =
    code === 'INTERNAL_SERVER_ERROR' && typeof requestId === 'string'
      ? `${error.message} (the server's log has the cause under request id ${requestId})`
      : error.message
  return new RpcError(code, message, reason === undefined ? { cause: error } : { reason, cause: error })
}

function refusal(error: DialError, address: Address, token: string | undefined): RpcError {
  const { status, reason, message } = error
  const url = urlOf(address)
  if (status === undefined) {
    const detail: unknown = Reflect.get(Object(error.cause), 'code') ?? message
    const start = `${invocation()} serve${addressFlags(address)}`
    return unreachable(`no server answers at ${url} (${detail}); start one with: ${start}`, error)
  }
  if (reason === undefined) return unreachable(`what answers at ${url} is not aibridge (HTTP status ${status})`, error)
  if (status === 401 && token === undefined) {
    const problem = `no admin token: ${address.dataDir}/${secretFiles.adminToken} does not exist and BRIDGE_ADMIN_TOKEN is not set; give the server's data directory with --data`
    return new RpcError('UNAUTHORIZED', problem, { reason: 'key_missing', cause: error })
  }
  if (status === 401) {
    const source = process.env.BRIDGE_ADMIN_TOKEN ? 'BRIDGE_ADMIN_TOKEN' : address.dataDir
    const problem = `the server at ${url} does not take the admin token of ${source}`
    return new RpcError('UNAUTHORIZED', problem, { reason, cause: error })
  }
  return new RpcError('SERVICE_UNAVAILABLE', `${url}: ${message}`, { reason, cause: error })
}

function unreachable(message: string, cause: unknown): RpcError {
  return new RpcError('SERVICE_UNAVAILABLE', message, { reason: 'server_unreachable', cause })
}
