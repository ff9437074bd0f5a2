/** How commands call a running server: the `admin` router over tRPC's HTTP adapter, with the admin token. */
import { createTRPCClient, httpLink, type TRPCClient, TRPCClientError } from '@trpc/client'
import { errorCodeOf, errorReasonOf, RpcError } from '../../shared/errors.js'
import { times } from '../../shared/limits.js'
import { transformer } from '../../shared/transformer.js'
import { type Address, adminTokenFrom, clientAddress } from '../config.js'
import type { AppRouter } from '../routers/app.js'
import { addressFlags, invocation } from './invocation.js'
import type { CommonOptions } from './options.js'
import { readAdminToken, secretFiles } from './secrets.js'

/** The `admin` router's procedures. */
export type AdminClient = TRPCClient<AppRouter>['admin']

/**
 * Runs `work` with a client of the server that the options name.
 * @throws RpcError with the server's code and reason; `SERVICE_UNAVAILABLE` (server_unreachable) if no aibridge answers there; `TIMEOUT`
 * after {@link times.callTimeoutMs}; `BAD_REQUEST` (config_invalid) for an option
 */
export async function withAdmin<T>(options: CommonOptions, work: (admin: AdminClient) => Promise<T>): Promise<T> {
  const address = clientAddress({ ...options })
  const token = adminTokenFrom(process.env) ?? (await readAdminToken(address.dataDir))
  const url = urlOf(address)
  let status: number | undefined
  const client = createTRPCClient<AppRouter>({
    links: [
      httpLink({
        url: `${url}/rpc`,
        transformer,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
        fetch: async (input, init) => {
          const response = await fetch(input, { ...requestOf(init), signal: AbortSignal.timeout(times.callTimeoutMs) })
          status = response.status
          return response
        },
      }),
    ],
  })
  try {
    return await work(client.admin)
  } catch (error) {
    if (!(error instanceof TRPCClientError)) throw error
    const code = errorCodeOf(error)
    if (code === undefined) throw noAnswer(error, address, status)
    const reason = errorReasonOf(error)
    const message = messageOf(error, address.dataDir, token)
    throw new RpcError(code, message, reason === undefined ? { cause: error } : { reason, cause: error })
  }
}

/** The URL that reaches a server which listens on this host and port. */
export function urlOf({ host, port }: Pick<Address, 'host' | 'port'>): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** tRPC types `init` for every runtime's fetch; what it holds here are these three. */
function requestOf(init: unknown): Pick<RequestInit, 'method' | 'headers' | 'body'> {
  return init as RequestInit // httpLink makes it for the global fetch
}

function messageOf(error: TRPCClientError<AppRouter>, dataDir: string, token: string | undefined): string {
  if (errorReasonOf(error) === 'key_missing' && token === undefined) {
    return `no admin token: ${dataDir}/${secretFiles.adminToken} does not exist and BRIDGE_ADMIN_TOKEN is not set; give the server's data directory with --data`
  }
  if (errorReasonOf(error) === 'key_invalid') {
    return `${error.message}: the server at this address does not take the admin token of ${process.env.BRIDGE_ADMIN_TOKEN ? 'BRIDGE_ADMIN_TOKEN' : dataDir}`
  }
  const requestId: unknown = Reflect.get(Object(error.data), 'requestId')
  return errorCodeOf(error) === 'INTERNAL_SERVER_ERROR' && typeof requestId === 'string'
    ? `${error.message} (the server's log has the cause under request id ${requestId})`
    : error.message
}

function noAnswer(error: TRPCClientError<AppRouter>, address: Address, status: number | undefined): RpcError {
  const url = urlOf(address)
  if (status !== undefined) {
    return new RpcError('SERVICE_UNAVAILABLE', `what answers at ${url} is not aibridge (HTTP status ${status})`, {
      reason: 'server_unreachable',
      cause: error,
    })
  }
  if (error.cause?.name === 'TimeoutError') {
    return new RpcError(
      'TIMEOUT',
      `${url} did not answer within ${times.callTimeoutMs} ms; it may still do what was asked`,
      {
        mayHaveRun: true,
        cause: error,
      },
    )
  }
  const cause = error.cause?.cause instanceof Error ? error.cause.cause : error
  const detail: unknown = Reflect.get(cause, 'code') ?? cause.message
  const start = `${invocation()} serve${addressFlags(address)}`
  return new RpcError('SERVICE_UNAVAILABLE', `no server answers at ${url} (${detail}); start one with: ${start}`, {
    reason: 'server_unreachable',
    cause: error,
  })
}
