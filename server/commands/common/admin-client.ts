/** Calls a running server for a command: the `admin` router over the WebSocket link, with the admin token. */
import type { BridgeClient } from '../../../client/bridge-client.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import type { DialError } from '../../../shared/rpc/dial-error.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { type ClientConfig, clientConfig } from '../../config/config.js'
import { secretFiles } from '../../config/keys.js'
import { readAdminToken } from '../../process/secrets.js'
import { withControlPlane } from './control-plane-client.js'
import type { CommonOptions } from './options.js'

/** The `admin` router's procedures. */
export type AdminClient = BridgeClient['admin']

/** A token that every server rejects. */
const noToken = 'none'

/**
 * Runs `work` with a client of the server that the options name.
 * @throws RpcError as {@link withControlPlane}
 */
export async function withAdmin<T>(options: CommonOptions, work: (admin: AdminClient) => Promise<T>): Promise<T> {
  const config = clientConfig({ ...options }, process.env)
  const token = config.adminToken ?? (await readAdminToken(config.dataDir))
  // Without a token the server is dialled all the same, because an unreachable server is the better error.
  const access = { config, key: token ?? noToken, rejectionOf: (error: DialError) => rejectionOf(error, config, token) }
  return withControlPlane(access, client => work(client.admin))
}

function rejectionOf(error: DialError, config: ClientConfig, token: string | undefined): RpcError<string> | undefined {
  const { status, reason } = error
  const { url, dataDir, isUrlGiven } = config
  if (status !== 401 || reason === undefined) return undefined
  const file = `${dataDir}/${secretFiles.adminToken}`
  if (token === undefined) {
    const cure = isUrlGiven
      ? "set BRIDGE_ADMIN_TOKEN to the server's token, which is in DATA/admin-token on its machine"
      : "give the server's data directory with --data, or its token in BRIDGE_ADMIN_TOKEN"
    const problem = `no admin token: BRIDGE_ADMIN_TOKEN is not set and ${file} does not exist; ${cure}`
    return rpcError('key_missing', problem, { cause: error })
  }
  const [source, cure] =
    config.adminToken === undefined
      ? [file, "give that server's data directory with --data, or its token in"]
      : ['BRIDGE_ADMIN_TOKEN', "set that server's token in"]
  const problem = `the server at ${url} rejects the admin token of ${source}; ${cure} BRIDGE_ADMIN_TOKEN`
  return new RpcError<string>('UNAUTHORIZED', problem, { reason, cause: error })
}
