import { v7 as uuidv7 } from 'uuid'
import type { z } from 'zod'
import type {
  ProviderSummary,
  providersKeysAddInput,
  providersKeysOrderInput,
  providersKeysRemoveInput,
} from '../../../../shared/contract/admin/providers.js'
import { adminLimits } from '../../../../shared/contract/limits.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { credentialHint } from '../../../../shared/values/credential-hint.js'
import { shortIdOf } from '../../../../shared/values/short-id.js'
import type { AuditedWrites, ProviderRow, SealedKey } from '../../../store/store.js'
import { auditEntry } from '../../audit-entry.js'
import { providerKeyPlace, type SecretBox } from '../../secrets.js'
import { unknownRow } from '../../unknown-row.js'

/** The keys of a provider, one by one. The first key is the preferred one. */
export interface ProviderKeysAdmin {
  /**
   * Adds keys and keeps the others.
   * @throws RpcError `NOT_FOUND` (unknown_row); `BAD_REQUEST` if the provider would have too many keys
   */
  add(input: z.output<typeof providersKeysAddInput>, actor: string): Promise<ProviderSummary>
  /** @throws RpcError `NOT_FOUND` (unknown_row) for the provider or a key; nothing is removed then */
  remove(input: z.output<typeof providersKeysRemoveInput>, actor: string): Promise<ProviderSummary>
  /**
   * Puts keys in front of the others, which keep their order.
   * @throws RpcError `NOT_FOUND` (unknown_row) for the provider or a key
   */
  order(input: z.output<typeof providersKeysOrderInput>, actor: string): Promise<ProviderSummary>
}

/** The parts of {@link createProviderKeysAdmin}. */
export interface ProviderKeysAdminOptions {
  store: AuditedWrites
  secrets: SecretBox
  /** Returns the summary of a provider that was changed. */
  shown: (row: ProviderRow) => Promise<ProviderSummary>
}

/** Creates the administration of single keys. */
export function createProviderKeysAdmin({ store, secrets, shown }: ProviderKeysAdminOptions): ProviderKeysAdmin {
  async function change(
    name: string,
    action: 'add' | 'remove' | 'order',
    actor: string,
    work: (keys: SealedKey[]) => SealedKey[],
  ): Promise<ProviderSummary> {
    const row = await store.audited(
      tables => tables.changeProviderKeys(name, work),
      changed =>
        changed && auditEntry(actor, `providers.keys.${action}`, name, { keys: changed.keys.map(({ hint }) => hint) }),
    )
    if (row) return shown(row)
    throw unknownRow('provider', name)
  }

  return {
    add({ name, keys, isPreferred = false }, actor) {
      const added = keys.map(key => sealProviderKey(secrets, key, name))
      return change(name, 'add', actor, before => {
        const all = isPreferred ? [...added, ...before] : [...before, ...added]
        const max = adminLimits.maxProviderKeys
        if (all.length <= max) return all
        throw new RpcError('BAD_REQUEST', `provider ${name} would have ${all.length} keys, and may have ${max}`)
      })
    },
    remove({ name, ids }, actor) {
      return change(name, 'remove', actor, before => {
        const named = new Set(ids.map(id => keyOf(before, id)))
        return before.filter(key => !named.has(key))
      })
    },
    order({ name, ids }, actor) {
      return change(name, 'order', actor, before => {
        const named = new Set(ids.map(id => keyOf(before, id)))
        return [...named, ...before.filter(key => !named.has(key))]
      })
    },
  }
}

/** Finds a key by its id, or by the short form of its id. */
function keyOf(keys: readonly SealedKey[], idOrShortId: string): SealedKey {
  const text = idOrShortId.toLowerCase()
  const key = keys.find(({ id }) => id === text || shortIdOf(id) === text)
  if (key) return key
  throw unknownRow('provider key', idOrShortId)
}

/** A provider's key as the store holds it. */
export function sealProviderKey(secrets: SecretBox, key: string, provider: string): SealedKey {
  const id = uuidv7()
  return { id, sealed: secrets.seal(key, providerKeyPlace(provider, id)), hint: credentialHint(key) }
}
