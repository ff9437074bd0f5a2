import type { z } from 'zod'
import type {
  ApiKey,
  apiKeysCreateInput,
  apiKeysDeleteInput,
  apiKeysExpireInput,
  apiKeysListInput,
  CreatedApiKey,
} from '../../../shared/contract/admin/api-keys.js'
import { type ErrorReason, errorReasons } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { ApiKeyStore, AuditedWrites } from '../../store/store.js'
import { generateApiKey, hashSecret } from '../api-key.js'
import { auditEntry } from '../audit-entry.js'
import { unknownRow } from '../unknown-row.js'
import { findUser, type UserFinder } from './find-user.js'

/** The keys of AI clients at the bridge. */
export interface ApiKeysAdmin {
  /**
   * Creates a key and returns the whole key, this once: only a hash of the secret is stored.
   * @throws RpcError `NOT_FOUND` (unknown_row) for an unknown user; `BAD_REQUEST` if `expiresAt` has passed;
   *   `PRECONDITION_FAILED` (deleted_user, system_user) if the user's keys would be rejected for good
   */
  create(input: z.output<typeof apiKeysCreateInput>, actor: string): Promise<CreatedApiKey>
  /** @throws RpcError `NOT_FOUND` (unknown_row) for an unknown user */
  list(input: z.output<typeof apiKeysListInput>): Promise<ApiKey[]>
  /**
   * Revokes a key: the key expires now, or stays expired.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  expire(input: z.output<typeof apiKeysExpireInput>, actor: string): Promise<ApiKey>
  /** @throws RpcError `NOT_FOUND` (unknown_row) */
  delete(input: z.output<typeof apiKeysDeleteInput>, actor: string): Promise<Record<string, never>>
}

export interface ApiKeysAdminOptions {
  store: ApiKeyStore & UserFinder & AuditedWrites
  now?: () => Date
}

export function createApiKeysAdmin({ store, now = () => new Date() }: ApiKeysAdminOptions): ApiKeysAdmin {
  return {
    async create({ user: ref, name = null, expiresAt = null }, actor) {
      const time = now()
      if (expiresAt && expiresAt <= time) {
        const message = `expiresAt: must lie in the future; ${expiresAt.toISOString()} is not after ${time.toISOString()}`
        throw new RpcError('BAD_REQUEST', message)
      }
      const user = await findUser(store, ref)
      const obstacle = user.deletedAt ? 'deleted_user' : user.isSystem ? 'system_user' : undefined
      if (obstacle) {
        throw new RpcError<ErrorReason>(
          'PRECONDITION_FAILED',
          `user ${user.username}: ${errorReasons[obstacle].meaning}`,
          {
            reason: obstacle,
          },
        )
      }
      // 62^10 ids exist; two taken ids in a row point at another fault.
      for (let attempt = 0; attempt < 2; attempt++) {
        const { id, secret } = generateApiKey()
        const created = await store.audited(
          tables => tables.createApiKey({ id, userId: user.id, name, secretHash: hashSecret(secret), expiresAt }),
          key => {
            const details = { userId: user.id, name, expiresAt: expiresAt?.toJSON() ?? null }
            return key && auditEntry(actor, 'apiKeys.create', id, details)
          },
        )
        if (created) return { ...created, key: `${id}-${secret}` }
      }
      throw new Error('the store rejected two new ids of API keys')
    },
    async list({ user: ref }) {
      return store.listApiKeys(ref === undefined ? {} : { userId: (await findUser(store, ref)).id })
    },
    async expire({ id }, actor) {
      const key = await store.audited(
        tables => tables.expireApiKey(id, now()),
        expired => expired && auditEntry(actor, 'apiKeys.expire', id, { userId: expired.userId }),
      )
      if (key) return key
      throw unknownRow('API key', id)
    },
    async delete({ id }, actor) {
      const isDeleted = await store.audited(
        tables => tables.deleteApiKey(id),
        done => (done ? auditEntry(actor, 'apiKeys.delete', id) : null),
      )
      if (isDeleted) return {}
      throw unknownRow('API key', id)
    },
  }
}
