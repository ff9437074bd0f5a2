import type { Authorization } from '../../../shared/contract/authorizer.js'
import { type ErrorReason, errorReasonOf, errorReasons, rpcError } from '../../../shared/contract/error-reasons.js'
import type { RpcError } from '../../../shared/rpc/errors.js'
import type { ApiKeyStore } from '../../store/store.js'
import type { UserIdentity } from '../identity.js'

/** The API keys of users as credentials at the control plane itself. */
export interface UserKeys {
  /**
   * Identifies the user of a key. Only a client with the secret learns the state of a key.
   * @throws RpcError `UNAUTHORIZED` (key_invalid, key_expired); `FORBIDDEN` (key_revoked) if the owner is suspended or
   *   deleted; `INTERNAL_SERVER_ERROR` when the store fails, never `key_invalid`
   */
  authenticate(key: string): Promise<UserIdentity>
  /** Returns the ids among `ids` whose keys are expired or deleted, or whose owners may not use the gateway. */
  findInvalid(ids: readonly string[]): Promise<string[]>
}

/** Settings of {@link createUserKeys}. */
export interface UserKeysOptions {
  store: Pick<ApiKeyStore, 'findInvalidApiKeys'>
  authorizer: { isAuthorized(input: { key: string }, caller: { delegate: false }): Promise<Authorization> }
  now?: () => Date
}

/** Reason of the authorizer → reason of a rejected connection. */
const rejections: Partial<Record<ErrorReason, 'key_invalid' | 'key_expired' | 'key_revoked'>> = {
  invalid_key: 'key_invalid',
  unknown_key: 'key_invalid',
  expired: 'key_expired',
  unknown_user: 'key_revoked',
  deleted_user: 'key_revoked',
  inactive_user: 'key_revoked',
  system_user: 'key_revoked',
}

/** Creates {@link UserKeys}. */
export function createUserKeys({ store, authorizer, now = () => new Date() }: UserKeysOptions): UserKeys {
  return {
    async authenticate(key) {
      try {
        const { ownerId, apiKeyId, username } = await authorizer.isAuthorized({ key }, { delegate: false })
        return { role: 'user', name: username, userId: ownerId, apiKeyId }
      } catch (error) {
        throw rejectionOf(error)
      }
    },
    findInvalid: ids => store.findInvalidApiKeys(ids, now()),
  }
}

function rejectionOf(error: unknown): unknown {
  const cause = errorReasonOf(error)
  const reason = cause && rejections[cause]
  return reason ? (rpcError(reason, errorReasons[reason].meaning) as RpcError<string>) : error
}
