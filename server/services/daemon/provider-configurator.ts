import type { z } from 'zod'
import type { Provider, ProvidersOutput, reportKeyInput } from '../../../shared/contract/provider-configurator.js'
import type { Logger } from '../../../shared/values/log.js'
import type { AuditedWrites, ChangeStore, ProviderRow, ProviderStore } from '../../store/store.js'
import { auditEntry } from '../audit-entry.js'
import type { DaemonIdentity } from '../identity.js'
import { providerKeyPlace, type SecretBox } from '../secrets.js'
import { signals } from '../signals.js'

export interface ProviderConfigurator {
  /**
   * Returns one consistent snapshot, sorted by name, with readable keys. Disabled providers have neither keys nor
   * settings. A provider whose keys cannot be opened is named, left out and logged; the call never fails for one. A
   * provider whose base URL is a path of this server is left out, without a log line, until the server listens.
   * @throws RpcError `INTERNAL_SERVER_ERROR` when the store fails
   */
  getProviders(): Promise<ProvidersOutput>
  /**
   * Notes that a provider rejects a key. The audit log gets one entry for each key and configuration. A report about an
   * unknown key or an older configuration changes nothing.
   */
  reportKey(input: z.output<typeof reportKeyInput>, daemon: DaemonIdentity): Promise<Record<string, never>>
  /**
   * Yields one signal at once, and one after each change of a provider by any process; simultaneous changes are one.
   */
  watchProviders(signal: AbortSignal | undefined): AsyncGenerator<Record<string, never>, void, void>
}

export interface ProviderConfiguratorOptions {
  store: Pick<ProviderStore, 'listProviders'> & ChangeStore & AuditedWrites
  secrets: SecretBox
  logger: Logger
  /** base URL of this server from its own machine, without a slash at the end; undefined until the server listens */
  ownUrl: () => string | undefined
}

export function createProviderConfigurator(options: ProviderConfiguratorOptions): ProviderConfigurator {
  return {
    async getProviders() {
      const rows = await options.store.listProviders()
      const providers: Provider[] = []
      const unreadable: string[] = []
      for (const row of rows) {
        const provider = readable(row, options)
        if (provider === 'unreadable') unreadable.push(row.name)
        else if (provider) providers.push(provider)
      }
      return { providers, ...(unreadable.length > 0 && { unreadable }) }
    },
    async reportKey({ provider, keyId, revision, status, model }, { name: reportedBy }) {
      const at = new Date(revision)
      if (Number.isNaN(at.getTime())) return {}
      const rejection = { status, model: status === 401 ? null : (model ?? null) }
      await options.store.audited(
        tables => tables.noteKeyRejection({ provider, keyId, revision: at, reportedBy, ...rejection }),
        isNew => (isNew ? auditEntry(reportedBy, 'providers.keyRejected', provider, { keyId, ...rejection }) : null),
      )
      return {}
    },
    async *watchProviders(signal) {
      const { store } = options
      for await (const _ of signals(listener => store.onChange('providers', listener), signal)) yield {}
    },
  }
}

/** Returns a provider as daemons get it; undefined for one that is not there yet. */
function readable(
  row: ProviderRow,
  { secrets, logger, ownUrl }: ProviderConfiguratorOptions,
): Provider | 'unreadable' | undefined {
  const { name, type, enabled, settings } = row
  const revision = row.updatedAt.toISOString()
  let { baseUrl } = row
  if (baseUrl.startsWith('/')) {
    const origin = ownUrl()
    if (origin === undefined) return undefined
    baseUrl = origin + baseUrl
  }
  if (!enabled) return { name, type, enabled, baseUrl, keys: [], revision }
  // On the wire the preferred key is the last one.
  const stored = row.keys.toReversed()
  try {
    const keys = stored.map(({ id, sealed }) => secrets.open(sealed, providerKeyPlace(name, id)))
    const keyIds = stored.map(({ id }) => id)
    return { name, type, enabled, baseUrl, keys, keyIds, revision, ...(settings && { settings }) }
  } catch (error) {
    const problem = error instanceof Error ? error.message : 'unknown'
    logger.error({ provider: name, problem }, 'a provider is left out: its keys cannot be opened')
    return 'unreadable'
  }
}
