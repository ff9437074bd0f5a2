/** The keys by which chats act as their owners. */
import { createHash, randomBytes } from 'node:crypto'
import { errorReasonOf } from '../../../shared/contract/error-reasons.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import type { ApiKeyStore, AuditedWrites } from '../../store/store.js'
import { hashSecret } from '../api-key.js'
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
  store: ApiKeyStore & AuditedWrites
  authorizer: Authorizer
}

/**
 * Creates {@link ChatKeys}. The secret of such a key is dropped when the key is made, so the key opens nothing from
 * outside; its id follows from the user, so all servers mean one key. A revoked key stays revoked.
 */
export function createChatKeys({ store, authorizer }: ChatKeysOptions): ChatKeys {
  const check = async (keyId: string) => {
    await authorizer.isAuthorized({ keyId }, { delegate: true })
    return keyId
  }
  return {
    async open(ownerId) {
      const keyId = chatKeyId(ownerId)
      try {
        return await check(keyId)
      } catch (error) {
        if (errorReasonOf(error) !== 'unknown_key') throw error
      }
      const secretHash = hashSecret(randomBytes(32).toString('hex'))
      await store.audited(
        tables => tables.createApiKey({ id: keyId, userId: ownerId, name: 'chats', secretHash, expiresAt: null }),
        key => key && auditEntry('chats', 'apiKeys.create', keyId, { userId: ownerId, name: 'chats', expiresAt: null }),
      )
      return check(keyId)
    },
  }
}

/** Returns whether an error says that a key may not be used, and not that the store failed. */
export function isNotAllowed(error: unknown): boolean {
  const code = errorCodeOf(error)
  return code === 'UNAUTHORIZED' || code === 'FORBIDDEN'
}

/** Returns the id of a user's key: 10 characters of the alphabet of keys, out of a digest. */
export function chatKeyId(ownerId: string): string {
  const digest = createHash('sha256').update(`chats of ${ownerId}`).digest()
  let number = digest.readBigUInt64BE()
  let id = ''
  for (let length = 0; length < 10; length++) {
    id += alphabet.charAt(Number(number % 62n))
    number /= 62n
  }
  return id
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
