import { v7 as uuidv7 } from 'uuid'
import type { z } from 'zod'
import type {
  ProviderSummary,
  providersRemoveInput,
  providersSetEnabledInput,
  providersUpsertInput,
} from '../../shared/admin.js'
import type { ProviderType } from '../../shared/provider-configurator.js'
import type { ProviderRow, ProviderStore, SealedKey } from '../store/store.js'
import { hintOf, type SecretBox } from './secrets.js'
import { unknownRow } from './unknown-row.js'

/** The AI providers that the bridge forwards to. What is answered never holds a key, only its hint. */
export interface ProvidersAdmin {
  /** Adds or replaces a provider. Without `baseUrl` it is the type's own, without `keys` it keeps those it has. */
  upsert(input: z.output<typeof providersUpsertInput>): Promise<ProviderSummary>
  /** Sorted by name. */
  list(): Promise<ProviderSummary[]>
  /** @throws RpcError `NOT_FOUND` (unknown_row) */
  setEnabled(input: z.output<typeof providersSetEnabledInput>): Promise<ProviderSummary>
  /**
   * Forgets a provider and its keys; the records stay.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  remove(input: z.output<typeof providersRemoveInput>): Promise<Record<string, never>>
}

export interface ProvidersAdminOptions {
  store: ProviderStore
  secrets: SecretBox
}

const defaultBaseUrls: Record<ProviderType, string> = { anthropic: 'https://api.anthropic.com' }

export function createProvidersAdmin({ store, secrets }: ProvidersAdminOptions): ProvidersAdmin {
  return {
    async upsert({ name, type, baseUrl, keys, enabled }) {
      const row = await store.upsertProvider({
        name,
        type,
        enabled,
        baseUrl: baseUrl?.replace(/\/+$/, '') ?? defaultBaseUrls[type],
        settings: null,
        keys: keys?.map(key => seal(key, name)),
      })
      return summaryOf(row)
    },
    async list() {
      return (await store.listProviders()).map(summaryOf)
    },
    async setEnabled({ name, enabled }) {
      const row = await store.setProviderEnabled(name, enabled)
      if (row) return summaryOf(row)
      throw unknownRow('provider', name)
    },
    async remove({ name }) {
      if (await store.removeProvider(name)) return {}
      throw unknownRow('provider', name)
    },
  }

  function seal(key: string, provider: string): SealedKey {
    const id = uuidv7()
    return { id, sealed: secrets.seal(key, { provider, keyId: id }), hint: hintOf(key) }
  }
}

function summaryOf({ keys, settings: _, ...row }: ProviderRow): ProviderSummary {
  return { ...row, keys: keys.map(({ hint }) => hint) }
}
