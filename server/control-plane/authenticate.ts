import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { errorReasonOf, rpcError } from '../../shared/contract/error-reasons.js'
import { uuid } from '../../shared/contract/fields.js'
import type { Credentials } from '../rpc/upgrade/listener-options.js'
import type { AgentIdentity, AgentKeys } from '../services/admin/agent-keys.js'
import type { DaemonKeys } from '../services/admin/daemon-keys.js'
import type { UserKeys } from '../services/admin/user-keys.js'
import type { Identity, UserIdentity } from '../services/identity.js'

/** `X-Bridge-Daemon-Instance`: a UUID of the daemon's process; any other value is ignored */
const instanceHeader = 'x-bridge-daemon-instance'

/** longest build version that is kept of a client's description */
const maxBuildVersionLength = 64

/**
 * Identifies the peer of a WebSocket: an admin by the admin token, else a daemon by its key, else a user by an API key.
 * Keys of daemons and users have one form, and an id of ten characters by chance in both kinds is harmless: the secret
 * decides.
 * @throws RpcError `UNAUTHORIZED` (key_missing, key_invalid, key_expired) or `FORBIDDEN` (key_revoked), without the
 *   given credentials
 */
export function createAuthenticator(
  adminToken: string | undefined,
  daemonKeys: Pick<DaemonKeys, 'authenticate'>,
  userKeys: Pick<UserKeys, 'authenticate'>,
): (credentials: Credentials) => Promise<Identity> {
  const isAdminToken = adminToken === undefined ? () => false : secretComparer(adminToken)
  return async ({ authorization, request }) => {
    const token = tokenOf(authorization)
    if (isAdminToken(token)) return { role: 'admin', name: 'admin' }
    const identity = await daemonKeys.authenticate(token, buildVersionOf(request)).catch((error: unknown) => {
      if (errorReasonOf(error) !== 'key_invalid') throw error
    })
    if (!identity) return userKeys.authenticate(token)
    const daemonInstance = uuid.safeParse(request.headers[instanceHeader])
    return daemonInstance.success ? { ...identity, daemonInstance: daemonInstance.data } : identity
  }
}

/**
 * Identifies an agent by its key; no other credentials are accepted.
 * @throws RpcError as {@link createAuthenticator}
 */
export function createAgentAuthenticator(agentKeys: AgentKeys): (credentials: Credentials) => Promise<AgentIdentity> {
  return async ({ authorization }) => agentKeys.authenticate(tokenOf(authorization))
}

/**
 * Identifies a user by an API key; no other credentials are accepted.
 * @throws RpcError as {@link createAuthenticator}
 */
export function createUserAuthenticator(
  userKeys: Pick<UserKeys, 'authenticate'>,
): (credentials: Credentials) => Promise<UserIdentity> {
  return async ({ authorization }) => userKeys.authenticate(tokenOf(authorization))
}

/**
 * Returns the process of an agent as its upgrade names it. An agent that names none is a new one each time.
 */
export function agentInstanceOf({ headers }: IncomingMessage): string {
  const instance = uuid.safeParse(headers['x-bridge-agent-instance'])
  return instance.success ? instance.data : randomUUID()
}

/** Returns the version by which the program of a client describes itself. */
export function buildVersionOf({ headers }: IncomingMessage): string | null {
  const version = headers['x-bridge-build-version']
  return typeof version === 'string' ? version.slice(0, maxBuildVersionLength) : null
}

/**
 * Returns the token of a header `Authorization`.
 * @throws RpcError `UNAUTHORIZED` (key_missing, key_invalid)
 */
export function tokenOf(authorization: string | undefined): string {
  if (authorization === undefined) {
    throw rpcError('key_missing', 'the header Authorization: Bearer KEY is missing')
  }
  const [, token] = /^Bearer +(\S+)$/i.exec(authorization) ?? []
  if (token === undefined) {
    throw rpcError('key_invalid', 'Authorization must be: Bearer KEY')
  }
  return token
}

/** Compares hashes, which have one length: the time reveals nothing of the secret or its length. */
export function secretComparer(secret: string): (given: string) => boolean {
  const expected = sha256(secret)
  return given => timingSafeEqual(sha256(given), expected)
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
