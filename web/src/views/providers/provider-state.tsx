import type { ProviderSummary, ProviderWarning } from '../../../../shared/contract/admin/providers.js'
import { Status } from '../../parts/status.js'

/** Sentences for the warnings of providers. */
const warnings: Readonly<Record<ProviderWarning, string>> = {
  no_key: 'No key: requests are sent without one, unless the client brings its own.',
  base_url_lacks_v1: 'The base URL lacks /v1.',
  base_url_doubles_v1: 'The base URL has /v1, which is added again.',
  base_url_names_endpoint: 'The base URL ends with the path of an endpoint.',
  fallback_url_path: 'The path of a fallback URL looks wrong.',
}

/** Returns a sentence for a warning. */
export function warningText(warning: string): string {
  return (warnings as Readonly<Record<string, string>>)[warning] ?? warning.replaceAll('_', ' ') // newer servers know more
}

/** Failures that are older than this say little about now. */
const recentMs = 15 * 60_000

/** Whether a provider is in use and works, as far as is known. */
export function ProviderState({ provider }: { provider: ProviderSummary }) {
  const { enabled, keyDetails, lastFailure } = provider
  if (!enabled) return <Status tone="plain">Disabled</Status>
  if (keyDetails.length > 0 && keyDetails.every(({ rejection }) => rejection))
    return <Status tone="bad">All keys rejected</Status>
  if (keyDetails.some(({ rejection }) => rejection)) return <Status tone="warn">A key is rejected</Status>
  if (provider.warnings.length > 0)
    return (
      <Status tone="warn" title={provider.warnings.map(warningText).join('\n')}>
        Check the settings
      </Status>
    )
  if (lastFailure && Date.now() - lastFailure.at.getTime() < recentMs)
    return <Status tone="warn">Failed just now</Status>
  return <Status tone="ok">Enabled</Status>
}
