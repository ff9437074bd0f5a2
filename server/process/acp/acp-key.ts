/** The bearer key of the door of `acp serve`. */
import { readFile } from 'node:fs/promises'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import type { Logger } from '../../../shared/values/log.js'
import type { AcpCredentials, AcpIdentity } from '../../acp/options.js'
import { invalid } from '../../config/config-error.js'
import { adminTokenProblem } from '../../config/keys.js'
import { secretComparer, tokenOf } from '../../control-plane/authenticate.js'
import { guardAuthenticator } from '../../control-plane/guarded-authenticator.js'
import type { Credentials } from '../../rpc/upgrade/listener-options.js'

/**
 * Returns the key that the configuration names; undefined for none.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the key in its message
 */
export async function readAcpKey(config: {
  key: string | undefined
  keyFile: string | undefined
}): Promise<string | undefined> {
  const { key, keyFile } = config
  if (key !== undefined || keyFile === undefined) return key
  const text = await readFile(keyFile, 'utf8').catch((error: unknown) => {
    throw invalid(`keyFile: ${keyFile} cannot be read`, error)
  })
  const found = text.trim()
  const problem = adminTokenProblem(found)
  if (problem !== undefined) throw invalid(`the key of ${keyFile} ${problem}`)
  return found
}

/** All clients have one key, and are one user. */
const holder: AcpIdentity = { userId: 'holder of the key' }

/**
 * Returns the check of requests: the key as a bearer token. Takes the same time for every wrong key; wrong keys of one
 * address are delayed and logged. Proxies are unknown here, so all clients behind one count as one address.
 */
export function acpAuthenticator(key: string, logger: Logger): (credentials: AcpCredentials) => Promise<AcpIdentity> {
  const isKey = secretComparer(key)
  const check = async ({ authorization }: Credentials): Promise<AcpIdentity> => {
    if (isKey(tokenOf(authorization))) return holder
    throw rpcError('key_invalid', 'the key is not that of this server')
  }
  const guarded = guardAuthenticator(check, { trustedProxies: [], logger })
  return credentials => guarded({ ...credentials, connectionParams: null })
}
