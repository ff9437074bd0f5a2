/** Providers that a new database gets from the environment. */
import { httpUrl } from '../../shared/contract/admin/fields.js'
import { providerKey } from '../../shared/contract/admin/providers.js'
import { providerTypes } from '../../shared/contract/provider-configurator.js'
import type { ProviderSeed } from '../services/admin/providers/provider-seeds.js'
import { invalid } from './config-error.js'
import { seedVariables } from './settings.js'
import type { Environment } from './sources.js'

/**
 * Returns a seed for each type of provider whose key the environment holds.
 * @throws RpcError `BAD_REQUEST` (config_invalid), without the key in its message
 */
export function seedsFrom(environment: Environment): ProviderSeed[] {
  return providerTypes.flatMap(type => {
    const variables = seedVariables(type)
    const key = environment[variables.key]?.trim()
    if (!key) return []
    if (!providerKey.safeParse(key).success) throw invalid(`${variables.key}: must be printable ASCII without spaces`)
    const baseUrl = environment[variables.baseUrl]?.trim() || undefined
    if (baseUrl !== undefined && !httpUrl.safeParse(baseUrl).success) {
      throw invalid(
        `${variables.baseUrl}: must begin with http:// or https:// and have no credentials, query or fragment`,
      )
    }
    return [{ type, key, baseUrl }]
  })
}
