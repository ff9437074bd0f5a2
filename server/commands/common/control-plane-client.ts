/** Calls a running server for a command over the WebSocket link. */
import { TRPCClientError } from '@trpc/client'
import { type BridgeClient, dialRemote } from '../../../client/bridge-client.js'
import { mayResend } from '../../../client/bridge-stubs.js'
import { createDuplexClient } from '../../../client/rpc/client.js'
import { connect } from '../../../client/rpc/connection.js'
import { finalCloseCodes } from '../../../shared/contract/close-codes.js'
import { type ErrorReason, errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import { errorCodeOf, mayHaveRunOf, RpcError } from '../../../shared/rpc/errors.js'
import { transformer } from '../../../shared/rpc/json/transformer.js'
import type { CallType } from '../../../shared/rpc/messages.js'
import { readCaFile } from '../../config/ca-file.js'
import type { ClientConfig } from '../../config/config.js'
import { buildVersion } from '../../process/build-version.js'
import { dialProblem } from '../../process/dial-problem.js'
import { addressFlags, invocation } from '../../process/invocation.js'
import type { AppRouter } from '../../routers/app.js'

/** The server, and the credentials of a command. */
export interface ControlPlaneAccess {
  config: Omit<ClientConfig, 'adminToken'>
  key: string
  /** Returns the error for a server that rejects the key; undefined: the server's words. */
  rejectionOf?(error: DialError): RpcError<string> | undefined
}

/**
 * Runs `work` with a client of a server.
 * @throws RpcError with the server's code and reason; `SERVICE_UNAVAILABLE` (server_unreachable) without an aibridge
 *   server at the address; `TIMEOUT` if a call takes longer than 30 s; `BAD_REQUEST` (config_invalid) for an option
 */
export async function withControlPlane<T>(
  { config, key, rejectionOf }: ControlPlaneAccess,
  work: (client: Pick<BridgeClient, 'admin' | 'chats'>) => Promise<T>,
): Promise<T> {
  const tls = await readCaFile(config.caFile)
  const dial = dialRemote({ url: config.url, key, buildVersion: buildVersion(), ...(tls && { tls }) })
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
    return await work(createDuplexClient<AppRouter>({ connection, transformer }))
  } catch (error) {
    if (failed) throw rejectionOf?.(failed) ?? dialFailure(failed, config)
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

function dialFailure(error: DialError, config: ControlPlaneAccess['config']): RpcError<string> {
  const { url, isUrlGiven } = config
  const howToStart = isUrlGiven
    ? 'check the URL, and that the server runs'
    : `start one with: ${invocation()} serve${addressFlags(config)}`
  const problem = dialProblem(error, url, howToStart)
  const reason = error.reason ?? 'server_unreachable'
  return new RpcError<string>('SERVICE_UNAVAILABLE', problem, { reason, cause: error })
}
