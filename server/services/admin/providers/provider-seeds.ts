import type { ProviderType } from '../../../../shared/contract/provider-configurator.js'
import type { ProviderStore } from '../../../store/store.js'
import type { SecretBox } from '../../secrets.js'
import { sealProviderKey } from './provider-keys.js'
import { defaultBaseUrls, trimmedBaseUrl } from './provider-urls.js'

/** A provider that the environment names. */
export interface ProviderSeed {
  type: ProviderType
  key: string
  /** default: the type's own */
  baseUrl?: string | undefined
}

/** Creates the row of a seed: a provider with the name of its type, enabled, with one key. */
export function seedRow(
  { type, key, baseUrl }: ProviderSeed,
  secrets: SecretBox,
): Parameters<ProviderStore['upsertProvider']>[0] {
  return {
    name: type,
    type,
    enabled: true,
    baseUrl: baseUrl === undefined ? defaultBaseUrls[type] : trimmedBaseUrl(baseUrl),
    settings: null,
    keys: [sealProviderKey(secrets, key, type)],
  }
}
