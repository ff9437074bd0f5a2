import { v7 as uuidv7 } from 'uuid'
import type { z } from 'zod'
import type {
  ProviderFailure,
  ProviderSummary,
  ProviderWarning,
  providersRemoveInput,
  providersSetEnabledInput,
  providersUpsertInput,
} from '../../../../shared/contract/admin/providers.js'
import type { ProviderType } from '../../../../shared/contract/provider-configurator.js'
import { readProviderSettings, unsetProviderSettings } from '../../../../shared/contract/provider-settings.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { credentialHint } from '../../../../shared/values/credential-hint.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import type { AuditedWrites, ProviderRow, ProviderStore, SealedKey } from '../../../store/store.js'
import { afterChange } from '../../partial-change.js'
import { providerKeyPlace, type SecretBox } from '../../secrets.js'
import { unknownRow } from '../../unknown-row.js'
import { auditEntry } from '../audit.js'
import { createProviderTester, type ProviderTester, type ProviderTesterOptions } from './provider-test.js'
import { baseUrlWarning, defaultBaseUrls, trimmedBaseUrl } from './provider-urls.js'

/** The AI providers that the bridge forwards to. Responses hold hints of keys and never a key. */
export interface ProvidersAdmin extends ProviderTester {
  /**
   * Adds a provider, or changes a provider, whose omitted fields keep their values. Defaults of a new provider:
   * enabled, type `anthropic`, no keys. A new provider, and a provider with a new type, has the base URL of the type by
   * default.
   * @throws RpcError `PRECONDITION_FAILED` if the type changes and the keys do not: they would be sent to another
   *   vendor
   */
  upsert(input: z.output<typeof providersUpsertInput>, actor: string): Promise<ProviderSummary>
  /** Sorted by name. */
  list(): Promise<ProviderSummary[]>
  /** @throws RpcError `NOT_FOUND` (unknown_row) */
  setEnabled(input: z.output<typeof providersSetEnabledInput>, actor: string): Promise<ProviderSummary>
  /**
   * Forgets a provider and its keys; the records stay.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  remove(input: z.output<typeof providersRemoveInput>, actor: string): Promise<Record<string, never>>
}

/** The parts of {@link createProvidersAdmin}. */
export interface ProvidersAdminOptions extends ProviderTesterOptions {
  store: ProviderStore & AuditedWrites
}

/** Creates the administration of providers. */
export function createProvidersAdmin(options: ProvidersAdminOptions): ProvidersAdmin {
  const { store, secrets } = options

  /** The summary of a provider that was changed. */
  function shown(row: ProviderRow): Promise<ProviderSummary> {
    return afterChange(async () => summaryOf(row, await store.listLastFailures()))
  }

  return {
    ...createProviderTester(options),
    async upsert({ name, keys, ...given }, actor) {
      const { type = 'anthropic', enabled = true } = given
      const baseUrl = given.baseUrl === undefined ? defaultBaseUrls[type] : trimmedBaseUrl(given.baseUrl)
      const sealed = keys?.map(key => sealProviderKey(secrets, key, name))
      const keep = (['type', 'enabled', 'baseUrl', 'settings'] as const).filter(field => given[field] === undefined)
      const row = await store.audited(
        async tables => {
          if (given.type && !sealed) await refuseKeysOfAnotherType(tables, name, given.type)
          const settings = given.settings ? await changedSettings(tables, name, given.settings) : null
          return tables.upsertProvider({ name, type, enabled, baseUrl, settings, keys: sealed }, keep)
        },
        ({ type, enabled, baseUrl, settings }) => {
          const hints = sealed ? { keys: sealed.map(({ hint }) => hint) } : {}
          const changed = given.settings ? { settings } : {}
          return auditEntry(actor, 'providers.upsert', name, { type, enabled, baseUrl, ...hints, ...changed })
        },
      )
      return shown(row)
    },
    async list() {
      const [rows, failures] = await Promise.all([store.listProviders(), store.listLastFailures()])
      return rows.map(row => summaryOf(row, failures))
    },
    async setEnabled({ name, enabled }, actor) {
      const row = await store.audited(
        tables => tables.setProviderEnabled(name, enabled),
        changed => changed && auditEntry(actor, 'providers.setEnabled', name, { enabled }),
      )
      if (row) return shown(row)
      throw unknownRow('provider', name)
    },
    async remove({ name }, actor) {
      const isRemoved = await store.audited(
        tables => tables.removeProvider(name),
        done => (done ? auditEntry(actor, 'providers.remove', name) : null),
      )
      if (isRemoved) return {}
      throw unknownRow('provider', name)
    },
  }
}

async function refuseKeysOfAnotherType(
  store: Pick<ProviderStore, 'listProviders'>,
  name: string,
  type: ProviderType,
): Promise<void> {
  const before = (await store.listProviders()).find(row => row.name === name)
  if (!before || before.type === type || before.keys.length === 0) return
  throw new RpcError(
    'PRECONDITION_FAILED',
    `provider ${name} is of type ${before.type} and has keys of it; give it keys for ${type} too, or remove it first`,
  )
}

/** Returns the settings of a provider after a change; null if none is left. Settings of other versions stay. */
async function changedSettings(
  store: Pick<ProviderStore, 'listProviders'>,
  name: string,
  change: NonNullable<z.output<typeof providersUpsertInput>['settings']>,
): Promise<JsonObject | null> {
  const before = (await store.listProviders()).find(row => row.name === name)?.settings
  const settings: JsonObject = { ...before }
  for (const [field, value] of Object.entries(change)) {
    if (value === null) delete settings[field]
    else if (value !== undefined) settings[field] = value
  }
  return Object.keys(settings).length === 0 ? null : settings
}

/** A provider's key as the store holds it. */
export function sealProviderKey(secrets: SecretBox, key: string, provider: string): SealedKey {
  const id = uuidv7()
  return { id, sealed: secrets.seal(key, providerKeyPlace(provider, id)), hint: credentialHint(key) }
}

function summaryOf(
  { keys, settings, ...row }: ProviderRow,
  failures: ReadonlyMap<string, ProviderFailure>,
): ProviderSummary {
  return {
    ...row,
    keys: keys.map(({ hint }) => hint),
    settings: { ...unsetProviderSettings, ...readProviderSettings(settings ?? undefined) },
    warnings: warningsOf({ ...row, keys }),
    lastFailure: failures.get(row.name) ?? null,
  }
}

/** The warnings of a provider; none of one whose base URL is a path of this server. */
function warningsOf({ type, baseUrl, keys }: Pick<ProviderRow, 'type' | 'baseUrl' | 'keys'>): ProviderWarning[] {
  if (baseUrl.startsWith('/')) return []
  const ofUrl = baseUrlWarning(type, baseUrl)
  return [...(keys.length === 0 ? (['no_key'] as const) : []), ...(ofUrl ? [ofUrl] : [])]
}
