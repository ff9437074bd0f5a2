import type { z } from 'zod'
import type {
  CreatedDaemonKey,
  DaemonKey,
  daemonKeysCreateInput,
  daemonKeysRevokeInput,
} from '../../../shared/contract/admin/daemon-keys.js'
import { type ErrorReason, errorReasons, rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import { cleanText } from '../../../shared/values/text.js'
import type { AuditedWrites, DaemonKeyStore } from '../../store/store.js'
import { generateApiKey, hashSecret, isSecretOf, parseApiKey } from '../api-key.js'
import { auditEntry } from '../audit-entry.js'
import type { DaemonIdentity } from '../identity.js'
import { unknownRow } from '../unknown-row.js'

/**
 * The keys of remote daemons at the control plane. The form is that of API keys; neither kind is accepted in the place
 * of the other.
 */
export interface DaemonKeys {
  /**
   * Creates a key and returns the whole key, this once: only a hash of the secret is stored.
   * @throws RpcError `BAD_REQUEST` if `expiresAt` has passed
   */
  create(input: z.output<typeof daemonKeysCreateInput>, actor: string): Promise<CreatedDaemonKey>
  /** Returns all keys, newest first, revoked keys included. */
  list(): Promise<DaemonKey[]>
  /**
   * Revokes a key for good. The key's connections are closed, in every process. A second call changes nothing.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  revoke(input: z.output<typeof daemonKeysRevokeInput>, actor: string): Promise<DaemonKey>
  /**
   * Identifies the daemon with this key, and records the daemon as seen now. Only a client with the secret learns the
   * state of a key.
   * @throws RpcError `UNAUTHORIZED` (key_invalid, key_expired); `FORBIDDEN` (key_revoked); `INTERNAL_SERVER_ERROR` when
   *   the store fails, never `key_invalid`
   */
  authenticate(key: string, buildVersion: string | null): Promise<DaemonIdentity>
  /**
   * Returns the invalid ones among the keys of open connections: revoked, expired or deleted. Records the others as
   * seen now.
   */
  checkConnected(ids: readonly string[]): Promise<string[]>
}

export interface DaemonKeysOptions {
  store: DaemonKeyStore & AuditedWrites
  logger: Logger
  now?: () => Date
}

/** Neither a daemon that reconnects in a loop nor a daemon that stays must cause a write each time. */
const seenAgainMs = 60_000

export function createDaemonKeys({ store, logger, now = () => new Date() }: DaemonKeysOptions): DaemonKeys {
  /**
   * the last write that was begun, by key: many connections at once, or a failing store, do not cause a write each time
   */
  const attempts = new Map<string, { at: number; buildVersion: string | null }>()

  async function noteSeen(key: DaemonKey, givenVersion: string | null): Promise<void> {
    const at = now()
    const buildVersion = givenVersion === null ? null : cleanText(givenVersion)
    const last = attempts.get(key.id) ?? { at: key.lastSeenAt?.getTime() ?? 0, buildVersion: key.buildVersion }
    const isDue = buildVersion !== last.buildVersion || at.getTime() - last.at >= seenAgainMs
    attempts.set(key.id, isDue ? { at: at.getTime(), buildVersion } : last)
    if (!isDue) return
    try {
      await store.recordDaemonSeen(key.id, { at, buildVersion })
    } catch (error) {
      logger.warn({ err: error, daemonKeyId: key.id }, 'it could not be stored that a daemon was seen')
    }
  }

  async function noteConnected(ids: readonly string[]): Promise<void> {
    const at = now()
    const due = ids.flatMap(id => {
      const last = attempts.get(id)
      return last && at.getTime() - last.at >= seenAgainMs ? [{ id, buildVersion: last.buildVersion }] : []
    })
    for (const { id, buildVersion } of due) attempts.set(id, { at: at.getTime(), buildVersion })
    if (due.length === 0) return
    try {
      await store.recordDaemonsConnected(
        due.map(({ id }) => id),
        at,
      )
    } catch (error) {
      logger.warn({ err: error }, 'it could not be stored that daemons are connected')
    }
  }

  return {
    async create({ name = null, delegate, expiresAt = null }, actor) {
      const time = now()
      if (expiresAt && expiresAt <= time) {
        const message = `expiresAt: must lie in the future; ${expiresAt.toISOString()} is not after ${time.toISOString()}`
        throw new RpcError('BAD_REQUEST', message)
      }
      // 62^10 ids exist; two taken ids in a row point at another fault.
      for (let attempt = 0; attempt < 2; attempt++) {
        const { id, secret } = generateApiKey()
        const created = await store.audited(
          tables => tables.createDaemonKey({ id, name, delegate, secretHash: hashSecret(secret), expiresAt }),
          key => {
            const details = { name, delegate, expiresAt: expiresAt?.toJSON() ?? null }
            return key && auditEntry(actor, 'daemonKeys.create', id, details)
          },
        )
        if (created) return { ...created, key: `${id}-${secret}` }
      }
      throw new Error('the store rejected two new ids of daemon keys')
    },

    list: () => store.listDaemonKeys(),

    async revoke({ id }, actor) {
      const key = await store.audited(
        tables => tables.revokeDaemonKey(id, now()),
        revoked => revoked && auditEntry(actor, 'daemonKeys.revoke', id),
      )
      if (!key) throw unknownRow('daemon key', id)
      return key
    },

    async authenticate(text, buildVersion) {
      const given = parseApiKey(text)
      if (!given) throw rejection('key_invalid')
      const found = await store.findDaemonKey(given.id)
      // An unknown id costs a hash too, so the time does not reveal which ids exist.
      const matches = isSecretOf(found?.secretHash ?? noHash, given.secret)
      if (!found || !matches) throw rejection('key_invalid')
      const { secretHash: _secretHash, ...key } = found
      if (key.revokedAt) throw rejection('key_revoked')
      if (key.expiresAt && key.expiresAt <= now()) throw rejection('key_expired')
      await noteSeen(key, buildVersion)
      return { role: 'daemon', name: key.name ?? key.id, delegate: key.delegate, daemonKeyId: key.id }
    },

    async checkConnected(ids) {
      const invalid = new Set(await store.findInvalidDaemonKeys(ids, now()))
      await noteConnected(ids.filter(id => !invalid.has(id)))
      return [...invalid]
    },
  }
}

const noHash = new Uint8Array(32)

function rejection(reason: 'key_invalid' | 'key_revoked' | 'key_expired'): RpcError<ErrorReason> {
  return rpcError(reason, errorReasons[reason].meaning)
}
