import { type ProviderSettings, providerSettingsFields } from '../../../shared/contract/provider-settings.js'
import type { JsonObject } from '../../../shared/values/text.js'

/**
 * Returns the settings of a provider that this version knows. A field with a value that breaks its rule is left out and
 * named to `report`: a newer control plane may know more values.
 */
export function readProviderSettings(
  settings: JsonObject | undefined,
  report: (field: string) => void,
): ProviderSettings {
  const known: ProviderSettings = {}
  for (const [field, schema] of Object.entries(providerSettingsFields)) {
    const value = settings?.[field]
    if (value === undefined || value === null) continue
    const { success, data } = schema.safeParse(value)
    if (success) Object.assign(known, { [field]: data })
    else report(field)
  }
  return known
}
