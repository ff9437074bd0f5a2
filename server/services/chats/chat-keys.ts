/** The keys by which chats act as their owners. */
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import type { AuditedWrites } from '../../store/store.js'
import { generateApiKey, hashSecret } from '../api-key.js'
import { auditEntry } from '../audit-entry.js'
import type { Authorizer } from '../daemon/authorizer.js'

/** One key for each user that has run a chat. */
export interface ChatKeys {
  /**
   * Returns the id of the owner's key, which is made for the first turn.
   * @throws RpcError `UNAUTHORIZED` if the key has expired, or the user may not use the gateway; the store's rejections
   */
  open(ownerId: string): Promise<string>
}

/** Parts of {@link createChatKeys}. */
export interface ChatKeysOptions {
  store: AuditedWrites
  authorizer: Authorizer
}

/**
 * Creates {@link ChatKeys}. The secret of such a key is dropped when the key is made, so the key opens nothing from
 * outside. A revoked key stays revoked.
 */
export function createChatKeys({ store, authorizer }: ChatKeysOptions): ChatKeys {
  return {
    async open(ownerId) {
      const { id, secret } = generateApiKey()
      const key = await store.audited(
        tables => tables.findOrCreateChatsKey({ id, userId: ownerId, secretHash: hashSecret(secret) }),
        found =>
          found?.id === id
            ? auditEntry('chats', 'apiKeys.create', id, { userId: ownerId, name: 'chats', expiresAt: null })
            : null,
      )
      if (!key) throw rpcError('unknown_user', 'the owner of the chat does not exist, or was deleted')
      await authorizer.isAuthorized({ keyId: key.id }, { delegate: true })
      return key.id
    },
  }
}

/** Returns whether an error says that a key may not be used, and not that the store failed. */
export function isNotAllowed(error: unknown): boolean {
  const code = errorCodeOf(error)
  return code === 'UNAUTHORIZED' || code === 'FORBIDDEN'
}
