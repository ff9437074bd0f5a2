import type { Authorization, IsAuthorizedInput } from '../../../shared/contract/authorizer.js'
import { type ErrorReason, errorReasons, rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { ApiKeyStore } from '../../store/store.js'
import { isSecretOf, parseApiKey } from '../api-key.js'
import type { KeyUse } from './key-use.js'

export interface Authorizer {
  /**
   * Returns the owner of an API key. `keyId` instead of `key` is the delegated path: everything is checked but the
   * secret.
   *
   * The first failing check decides: both or neither given → `ambiguous_auth` (`BAD_REQUEST`); `keyId` without the
   * capability → `delegation_not_allowed` (`FORBIDDEN`); then, all `UNAUTHORIZED`, malformed → `invalid_key`,
   * `unknown_key`, `expired`, another secret → `invalid_key`, `unknown_user`, `deleted_user`, `inactive_user`,
   * `system_user`.
   * @throws RpcError also `INTERNAL_SERVER_ERROR` when the store fails, never `unknown_key`
   */
  isAuthorized(input: IsAuthorizedInput, caller: { delegate: boolean }): Promise<Authorization>
}

export interface AuthorizerOptions {
  store: Pick<ApiKeyStore, 'findApiKey'>
  /** notes the use of every authorized key; default: no notes */
  keyUse?: Pick<KeyUse, 'note'>
  now?: () => Date
}

export function createAuthorizer({ store, keyUse, now = () => new Date() }: AuthorizerOptions): Authorizer {
  return {
    async isAuthorized(input, caller) {
      const { id, secret } = whichKey(input, caller)
      const key = await store.findApiKey(id)
      if (!key) throw unauthorized('unknown_key', id)
      if (key.expiresAt && key.expiresAt <= now()) throw unauthorized('expired', id)
      // The key of a user's chats is for the server alone: no secret opens it, not even its own.
      const isSecret = secret === undefined || (key.kind === 'user' && isSecretOf(key.secretHash, secret))
      if (!isSecret) throw unauthorized('invalid_key', id)
      const { owner } = key
      if (!owner) throw unauthorized('unknown_user', id)
      if (owner.deletedAt) throw unauthorized('deleted_user', id)
      if (owner.status !== 'active') throw unauthorized('inactive_user', id)
      if (owner.isSystem) throw unauthorized('system_user', id)
      keyUse?.note(key.id, key.lastUsedAt)
      return { ownerId: owner.id, apiKeyId: key.id, username: owner.username }
    },
  }
}

/** `secret` is undefined on the delegated path. */
function whichKey(
  { key, keyId }: IsAuthorizedInput,
  { delegate }: { delegate: boolean },
): { id: string; secret: string | undefined } {
  if ((key === undefined) === (keyId === undefined)) {
    const given = key === undefined ? 'neither was' : 'both were'
    throw rpcError('ambiguous_auth', `${errorReasons.ambiguous_auth.meaning}; ${given} given`)
  }
  if (key !== undefined) {
    const parsed = parseApiKey(key)
    if (parsed) return parsed
  } else if (!delegate) {
    throw rpcError('delegation_not_allowed', errorReasons.delegation_not_allowed.meaning)
  } else if (keyId !== undefined && /^[A-Za-z0-9]{10}$/.test(keyId)) {
    return { id: keyId, secret: undefined }
  }
  throw rpcError('invalid_key', 'the API key is malformed')
}

function unauthorized(reason: ErrorReason, keyId: string): RpcError<ErrorReason> {
  return new RpcError<ErrorReason>('UNAUTHORIZED', `API key ${keyId}: ${errorReasons[reason].meaning}`, { reason })
}
