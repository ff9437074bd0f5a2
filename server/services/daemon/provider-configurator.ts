import type { Provider, ProvidersOutput } from '../../../shared/contract/provider-configurator.js'
import type { Logger } from '../../../shared/values/log.js'
import type { ChangeStore, ProviderRow, ProviderStore } from '../../store/store.js'
import { providerKeyPlace, type SecretBox } from '../secrets.js'
import { signals } from '../signals.js'

export interface ProviderConfigurator {
  /**
   * Returns one consistent snapshot, sorted by name, with readable keys. Disabled providers have neither keys nor
   * settings. A provider whose keys cannot be opened is left out and logged; the call never fails for one provider. A
   * provider whose base URL is a path of this server is left out, without a log line, until the server listens.
   * @throws RpcError `INTERNAL_SERVER_ERROR` when the store fails
   */
  getProviders(): Promise<ProvidersOutput>
  /**
   * Yields one signal at once, and one after each change of a provider by any process; simultaneous changes are one.
   */
  watchProviders(signal: AbortSignal | undefined): AsyncGenerator<Record<string, never>, void, void>
}

export interface ProviderConfiguratorOptions {
  store: Pick<ProviderStore, 'listProviders'> & ChangeStore
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
      for (const row of rows) {
        const provider = readable(row, options)
        if (provider) providers.push(provider)
      }
      return { providers }
    },
    async *watchProviders(signal) {
      const { store } = options
      for await (const _ of signals(listener => store.onChange('providers', listener), signal)) yield {}
    },
  }
}

function readable(row: ProviderRow, { secrets, logger, ownUrl }: ProviderConfiguratorOptions): Provider | undefined {
  const { name, type, enabled, settings } = row
  let { baseUrl } = row
  if (baseUrl.startsWith('/')) {
    const origin = ownUrl()
    if (origin === undefined) return undefined
    baseUrl = origin + baseUrl
  }
  if (!enabled) return { name, type, enabled, baseUrl, keys: [] }
  try {
    const keys = row.keys.map(({ id, sealed }) => secrets.open(sealed, providerKeyPlace(name, id)))
    return { name, type, enabled, baseUrl, keys, ...(settings && { settings }) }
  } catch (error) {
    const problem = error instanceof Error ? error.message : 'unknown'
    logger.error({ provider: name, problem }, 'a provider is left out: its keys cannot be opened')
    return undefined
  }
}
