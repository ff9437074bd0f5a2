import type { z } from 'zod'
import type {
  CreatedDaemonKey,
  DaemonKey,
  daemonKeysCreateInput,
  daemonKeysRevokeInput,
} from '../../../shared/contract/admin.js'
import { type ErrorReason, errorReasons, rpcError } from '../../../shared/contract/error-reasons.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import { cleanText } from '../../../shared/values/text.js'
import type { AuditedWrites, DaemonKeyStore } from '../../store/store.js'
import { generateApiKey, hashSecret, isSecretOf, parseApiKey } from '../api-key.js'
import type { Identity } from '../identity.js'
import { unknownRow } from '../unknown-row.js'
import { auditEntry } from './audit.js'

/** The keys with which remote daemons come to the control plane. In form they are as API keys; neither is taken for the other. */
export interface DaemonKeys {
  /**
   * Makes a key and answers it whole, this once: only a hash of its secret is stored.
   * @throws RpcError `BAD_REQUEST` if `expiresAt` has passed
   */
  create(input: z.output<typeof daemonKeysCreateInput>, actor: string): Promise<CreatedDaemonKey>
  /** Newest first, revoked ones too. */
  list(): Promise<DaemonKey[]>
  /**
   * Takes a key back for good. Connections that came with it are closed, whichever process they are in.
   * A second time changes nothing.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  revoke(input: z.output<typeof daemonKeysRevokeInput>, actor: string): Promise<DaemonKey>
  /**
   * Who comes with this key, and that it was here now. The state of a key is told only to who has its secret.
   * @throws RpcError `UNAUTHORIZED` (key_invalid, key_expired); `FORBIDDEN` (key_revoked); `INTERNAL_SERVER_ERROR` when the store fails,
   * never `key_invalid`
   */
  authenticate(key: string, buildVersion: string | null): Promise<Identity>
  /** Of the keys of open connections, those that are not taken any more: revoked, expired or gone. The others were here now, too. */
  checkConnected(ids: readonly string[]): Promise<string[]>
}

export interface DaemonKeysOptions {
  store: DaemonKeyStore & AuditedWrites
  logger: Logger
  now?: () => Date
}

/** A daemon that reconnects in a loop must not write a row each time, nor does one that stays. */
const seenAgainMs = 60_000

export function createDaemonKeys({ store, logger, now = () => new Date() }: DaemonKeysOptions): DaemonKeys {
  /** the last write that was begun, by key: many connections at once, and a store that refuses, do not write each time */
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
      // Ids are 62^10; that two in a row are taken says that something else is wrong.
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
      throw new Error('the store refused two new ids of daemon keys')
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
      if (!given) throw refused('key_invalid')
      const found = await store.findDaemonKey(given.id)
      // A hash is made also where there is none to compare it with: the time does not tell which ids exist.
      const matches = isSecretOf(found?.secretHash ?? noHash, given.secret)
      if (!found || !matches) throw refused('key_invalid')
      const { secretHash: _secretHash, ...key } = found
      if (key.revokedAt) throw refused('key_revoked')
      if (key.expiresAt && key.expiresAt <= now()) throw refused('key_expired')
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

function refused(reason: 'key_invalid' | 'key_revoked' | 'key_expired'): RpcError<ErrorReason> {
  return rpcError(reason, errorReasons[reason].meaning)
}
