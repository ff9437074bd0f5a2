import type { RotationResult } from '../../../shared/contract/admin/secrets.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { Logger } from '../../../shared/values/log.js'
import type { AuditedWrites, SecretColumn, SecretStore, Store } from '../../store/store.js'
import { auditEntry } from '../audit-entry.js'
import { afterChange, partlyDone } from '../partial-change.js'
import { providerKeyPlace, type SecretBox, type SecretPlace } from '../secrets.js'
import { clientSecretPlace, tokenPlace } from '../tools/token-secrets.js'

/** Replaces the key that seals secrets. */
export interface SecretRotation {
  /**
   * Seals every secret anew that is not under the first key of the box. A server with keys of its own
   * ({@link RotateKeys}) first makes a new key, and forgets the old key when everything is under the new one.
   *
   * Concurrent changes are never overwritten. A call that breaks off, at any moment, leaves everything readable, and
   * the next call goes on. A call during another call returns that call's result.
   * @throws RpcError `CONFLICT` if secrets change again and again meanwhile
   */
  rotate(actor: string): Promise<RotationResult>
}

/** Keys made by a server, and kept for the server's next start. */
export interface KeyRotation {
  /**
   * the new key first, then the old; both are kept already, so that secrets under either key can be opened after a
   * crash
   */
  keys: readonly Uint8Array[]
  /** Deletes the old key, for good. */
  finish(): Promise<void>
}

/** Begins a rotation, or goes on with an unfinished one. */
export type RotateKeys = () => Promise<KeyRotation>

export interface SecretRotationOptions {
  store: SecretStore & AuditedWrites & Pick<Store, 'settle'>
  secrets: SecretBox
  logger: Logger
  /** absent: the keys come with the configuration, and only an operator changes them */
  rotateKeys?: RotateKeys
}

/** The store's columns with secrets → the places for which the secrets are sealed, by the key of their row. */
export const secretPlaces: Record<SecretColumn, (key: readonly string[]) => SecretPlace> = {
  providerKey: ([provider = '', keyId = '']) => providerKeyPlace(provider, keyId),
  clientSecret: ([id = '']) => clientSecretPlace({ id }),
  accessToken: ([userId = '', serverId = '']) => tokenPlace({ userId, serverId }, 'accessToken'),
  refreshToken: ([userId = '', serverId = '']) => tokenPlace({ userId, serverId }, 'refreshToken'),
}

/** Secrets of one transaction. */
const batchSize = 200
/** A secret that was changed during its sealing is read again. */
const maxPasses = 10
const action = 'secrets.rotate'

export function createSecretRotation({ store, secrets, logger, rotateKeys }: SecretRotationOptions): SecretRotation {
  let running: Promise<RotationResult> | undefined

  async function rotate(actor: string): Promise<RotationResult> {
    const own = await rotateKeys?.()
    if (own) return afterChange(() => rotateTo(own, actor))
    return { ...(await sealAnew(actor)), oldKey: secrets.keyCount > 1 ? 'configured' : 'none' }
  }

  async function rotateTo({ keys, finish }: KeyRotation, actor: string): Promise<RotationResult> {
    secrets.replaceKeys(keys)
    // Secrets sealed before are on their way to the store, and have to arrive before the search.
    await new Promise(resolve => setImmediate(resolve))
    await store.settle()
    const counts = await sealAnew(actor)
    const result: RotationResult = { ...counts, oldKey: counts.unreadable === 0 ? 'removed' : 'kept' }
    if (result.oldKey === 'removed') {
      await finish()
      secrets.replaceKeys(keys.slice(0, 1))
    }
    await store.audited(
      async () => {},
      () => auditEntry(actor, action, null, { ...result }),
    )
    return result
  }

  async function sealAnew(actor: string): Promise<Pick<RotationResult, 'rotated' | 'kept' | 'unreadable'>> {
    let rotated = 0
    for (let pass = 0; pass < maxPasses; pass++) {
      const found = { rotated: 0, current: 0, unreadable: 0, missed: 0 }
      for (const column of Object.keys(secretPlaces) as SecretColumn[]) {
        await sealColumn(column, found, actor).catch((error: unknown) => {
          throw rotated + found.rotated > 0 ? partlyDone(error) : error
        })
      }
      const kept = Math.max(0, found.current - rotated)
      rotated += found.rotated
      if (found.missed === 0) return { rotated, kept, unreadable: found.unreadable }
    }
    throw new RpcError(
      'CONFLICT',
      `secrets were changed in each of ${maxPasses} attempts to seal them anew; call again`,
    )
  }

  interface Found {
    rotated: number
    current: number
    unreadable: number
    missed: number
  }

  async function sealColumn(column: SecretColumn, found: Found, actor: string): Promise<void> {
    let after: readonly string[] | undefined
    do {
      const page = await store.listSecrets({ column, after, limit: batchSize })
      const outdated = page.flatMap(({ key, sealed }) => {
        const place = secretPlaces[column](key)
        const secret = opened(sealed, place)
        if (secret === undefined) {
          logger.warn({ place }, 'a secret cannot be opened with any key')
          found.unreadable++
          return []
        }
        if (secrets.isCurrent(sealed)) {
          found.current++
          return []
        }
        return [{ column, key, from: sealed, to: secrets.seal(secret, place) }]
      })
      if (outdated.length > 0) {
        const rotated = await store.audited(
          async tables => {
            let count = 0
            for (const change of outdated) if (await tables.replaceSecret(change)) count++
            return count
          },
          count => (count > 0 ? auditEntry(actor, action, column, { rotated: count }) : null),
        )
        found.rotated += rotated
        found.missed += outdated.length - rotated
      }
      after = page.length === batchSize ? page.at(-1)?.key : undefined
    } while (after)
  }

  function opened(sealed: Uint8Array, place: SecretPlace): string | undefined {
    try {
      return secrets.open(sealed, place)
    } catch {
      return undefined
    }
  }

  return {
    rotate(actor) {
      running ??= rotate(actor).finally(() => {
        running = undefined
      })
      return running
    },
  }
}
