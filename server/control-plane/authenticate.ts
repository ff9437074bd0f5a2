import { createHash, timingSafeEqual } from 'node:crypto'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { uuid } from '../../shared/contract/fields.js'
import type { Credentials } from '../rpc/upgrade/listener-options.js'
import type { DaemonKeys } from '../services/admin/daemon-keys.js'
import type { Identity } from '../services/identity.js'

/** `X-Bridge-Daemon-Instance`: a UUID of the daemon's process; any other value is ignored */
const instanceHeader = 'x-bridge-daemon-instance'

/** longest build version that is kept of a client's description */
const maxBuildVersionLength = 64

/**
 * Identifies the peer of a WebSocket: an admin by the admin token, else a daemon by its key.
 * @throws RpcError `UNAUTHORIZED` (key_missing, key_invalid, key_expired) or `FORBIDDEN` (key_revoked), without the
 *   given credentials
 */
export function createAuthenticator(
  adminToken: string | undefined,
  daemonKeys: DaemonKeys,
): (credentials: Credentials) => Promise<Identity> {
  const isAdminToken = adminToken === undefined ? () => false : secretComparer(adminToken)
  return async ({ authorization, request }) => {
    if (authorization === undefined) {
      throw rpcError('key_missing', 'the header Authorization: Bearer KEY is missing')
    }
    const [, token] = /^Bearer +(\S+)$/i.exec(authorization) ?? []
    if (token === undefined) {
      throw rpcError('key_invalid', 'Authorization must be: Bearer KEY')
    }
    if (isAdminToken(token)) return { role: 'admin', name: 'admin' }
    const buildVersion = request.headers['x-bridge-build-version']
    const identity = await daemonKeys.authenticate(
      token,
      typeof buildVersion === 'string' ? buildVersion.slice(0, maxBuildVersionLength) : null,
    )
    const daemonInstance = uuid.safeParse(request.headers[instanceHeader])
    return daemonInstance.success ? { ...identity, daemonInstance: daemonInstance.data } : identity
  }
}

/** Compares hashes, which have one length: the time reveals nothing of the secret or its length. */
function secretComparer(secret: string): (given: string) => boolean {
  const expected = sha256(secret)
  return given => timingSafeEqual(sha256(given), expected)
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
