/** The text of a provider that a part keeps for it: it goes back to the same provider, by the same API, only. */
import type { ModelRequest, StoredPart } from '../../server/services/chats/model.js'
import { isPlainObject } from '../../shared/values/text.js'
import { parsed } from '../bridge/providers/reading.js'

/** Returns the text for a value of the provider. */
export function internalOf({ api, provider }: Pick<ModelRequest, 'api' | 'provider'>, value: object): string {
  return JSON.stringify({ api, provider, value })
}

/** Returns the provider's value of a part; undefined without one, and for one of another provider or API. */
export function ownInternal(
  { api, provider }: Pick<ModelRequest, 'api' | 'provider'>,
  { internal }: StoredPart,
): Record<string, unknown> | undefined {
  const json = internal === undefined ? undefined : parsed(internal)
  if (!isPlainObject(json) || json.api !== api || json.provider !== provider) return undefined
  return isPlainObject(json.value) ? json.value : undefined
}
