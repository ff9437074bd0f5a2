/** Calls a running server for a command: the `admin` router over the WebSocket link, with the admin token. */
import { TRPCClientError } from '@trpc/client'
import { type BridgeClient, dialRemote } from '../../../client/bridge-client.js'
import { mayResend } from '../../../client/bridge-stubs.js'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { connect } from '../../../client/rpc/connection.js'
import { finalCloseCodes } from '../../../shared/contract/close-codes.js'
import { type ErrorReason, errorReasonOf, rpcError } from '../../../shared/contract/error-reasons.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import { errorCodeOf, mayHaveRunOf, RpcError } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import type { CallType } from '../../../shared/rpc/messages.js'
import { readCaFile } from '../../config/ca-file.js'
import { type ClientConfig, clientConfig } from '../../config/config.js'
import { secretFiles } from '../../config/keys.js'
import { buildVersion } from '../../process/build-version.js'
import { dialProblem } from '../../process/dial-problem.js'
import { addressFlags, invocation } from '../../process/invocation.js'
import { readAdminToken } from '../../process/secrets.js'
import type { AppRouter } from '../../routers/app.js'
import type { CommonOptions } from './options.js'

/** The `admin` router's procedures. */
export type AdminClient = BridgeClient['admin']

/** A token that every server rejects. */
const noToken = 'none'

/**
 * Runs `work` with a client of the server that the options name.
 * @throws RpcError with the server's code and reason; `SERVICE_UNAVAILABLE` (server_unreachable) without an aibridge
 *   server at the address; `TIMEOUT` if a call takes longer than 30 s; `BAD_REQUEST` (config_invalid) for an option
 */
export async function withAdmin<T>(options: CommonOptions, work: (admin: AdminClient) => Promise<T>): Promise<T> {
  const config = clientConfig({ ...options }, process.env)
  const tls = await readCaFile(config.caFile)
  const token = config.adminToken ?? (await readAdminToken(config.dataDir))
  const dial = dialRemote({
    url: config.url,
    // Without a token the server is dialled all the same, because an unreachable server is the better error.
    key: token ?? noToken,
    buildVersion: buildVersion(),
    ...(tls && { tls }),
  })
  let failed: DialError | undefined
  let wasOpen = false
  let failedType: CallType | undefined
  const connection = connect({
    finalCloseCodes,
    resend: mayResend,
    onCallEnd: ({ type, code }) => {
      if (code !== undefined) failedType = type
    },
    // A person waits for this command: after a failed first dial, the command ends with the cause. A server that was
    // reached once may come back.
    dial: async info => {
      try {
        const duplex = await dial(info)
        wasOpen = true
        return duplex
      } catch (error) {
        if (!(error instanceof DialError) || wasOpen) throw error
        failed = error
        throw new DialError(error.message, { fatal: true, cause: error })
      }
    },
  })
  try {
    return await work(createDuplexClient<AppRouter>({ connection, transformer }).admin)
  } catch (error) {
    if (failed) throw dialFailure(failed, config, token)
    if (!(error instanceof TRPCClientError)) throw error
    throw callFailure(error, failedType)
  } finally {
    await connection.close()
  }
}

function callFailure(error: TRPCClientError<AppRouter>, type: CallType | undefined): RpcError<ErrorReason> {
  const code = errorCodeOf(error) ?? 'INTERNAL_SERVER_ERROR'
  const reason = errorReasonOf(error)
  const requestId: unknown = Reflect.get(Object(error.data), 'requestId')
  const message =
    code === 'INTERNAL_SERVER_ERROR' && typeof requestId === 'string'
      ? `${error.message} (the server's log has the cause under request id ${requestId})`
      : error.message
  // Reads are repeated without a thought.
  const mayHaveRun = type === 'mutation' ? mayHaveRunOf(error) : undefined
  return new RpcError<ErrorReason>(code, message, { reason, mayHaveRun, cause: error })
}

function dialFailure(error: DialError, config: ClientConfig, token: string | undefined): RpcError<string> {
  const { status, reason } = error
  const { url, dataDir, isUrlGiven } = config
  if (status === 401 && reason !== undefined && token === undefined) {
    const file = `${dataDir}/${secretFiles.adminToken}`
    const cure = isUrlGiven
      ? "set BRIDGE_ADMIN_TOKEN to the server's token, which is in DATA/admin-token on its machine"
      : "give the server's data directory with --data, or its token in BRIDGE_ADMIN_TOKEN"
    const problem = `no admin token: BRIDGE_ADMIN_TOKEN is not set and ${file} does not exist; ${cure}`
    return rpcError('key_missing', problem, { cause: error })
  }
  if (status === 401 && reason !== undefined) {
    const [source, cure] =
      config.adminToken === undefined
        ? [`${dataDir}/${secretFiles.adminToken}`, "give that server's data directory with --data, or its token in"]
        : ['BRIDGE_ADMIN_TOKEN', "set that server's token in"]
    const problem = `the server at ${url} rejects the admin token of ${source}; ${cure} BRIDGE_ADMIN_TOKEN`
    return new RpcError<string>('UNAUTHORIZED', problem, { reason, cause: error })
  }
  const howToStart = isUrlGiven
    ? 'check the URL, and that the server runs'
    : `start one with: ${invocation()} serve${addressFlags(config)}`
  const problem = dialProblem(error, url, howToStart)
  return new RpcError<string>('SERVICE_UNAVAILABLE', problem, { reason: reason ?? 'server_unreachable', cause: error })
}
