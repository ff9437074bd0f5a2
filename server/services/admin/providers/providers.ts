import type { z } from 'zod'
import type {
  KeyRejection,
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
import type { JsonObject } from '../../../../shared/values/text.js'
import type { AuditedWrites, KeyRejectionRow, ProviderRow, ProviderStore } from '../../../store/store.js'
import { auditEntry } from '../../audit-entry.js'
import { afterChange } from '../../partial-change.js'
import { unknownRow } from '../../unknown-row.js'
import { createProviderKeysAdmin, type ProviderKeysAdmin, sealProviderKey } from './provider-keys.js'
import { createProviderTester, type ProviderTester, type ProviderTesterOptions } from './provider-test.js'
import { baseUrlWarning, defaultBaseUrls, trimmedBaseUrl } from './provider-urls.js'

/** The AI providers that the bridge forwards to. Responses hold hints of keys and never a key. */
export interface ProvidersAdmin extends ProviderTester {
  readonly keys: ProviderKeysAdmin
  /**
   * Adds a provider, or changes a provider, whose omitted fields keep their values. Defaults of a new provider:
   * enabled, type `anthropic`, no keys. A new provider, and a provider with a new type, has the base URL of the type by
   * default.
   * @throws RpcError `PRECONDITION_FAILED` if the type changes and the keys or the fallback URLs do not: they
   *   belong to another vendor
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

  async function summaries(rows: readonly ProviderRow[]): Promise<ProviderSummary[]> {
    const [failures, rejections] = await Promise.all([store.listLastFailures(), store.listKeyRejections()])
    return rows.map(row => summaryOf(row, failures, rejections))
  }

  /** The summary of a provider that was changed. */
  function shown(row: ProviderRow): Promise<ProviderSummary> {
    return afterChange(async () => {
      const [summary] = await summaries([row])
      if (!summary) throw new Error('a row has a summary')
      return summary
    })
  }

  return {
    ...createProviderTester(options),
    keys: createProviderKeysAdmin({ store, secrets, shown }),
    async upsert({ name, keys, ...given }, actor) {
      const { type = 'anthropic', enabled = true } = given
      const baseUrl = given.baseUrl === undefined ? defaultBaseUrls[type] : trimmedBaseUrl(given.baseUrl)
      const sealed = keys?.map(key => sealProviderKey(secrets, key, name))
      const keep = (['type', 'enabled', 'baseUrl', 'settings'] as const).filter(field => given[field] === undefined)
      const row = await store.audited(
        async tables => {
          if (given.type) await rejectPartsOfAnotherType(tables, name, given.type, { keys, settings: given.settings })
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
      return summaries(await store.listProviders())
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

async function rejectPartsOfAnotherType(
  store: Pick<ProviderStore, 'listProviders'>,
  name: string,
  type: ProviderType,
  { keys, settings }: Pick<z.output<typeof providersUpsertInput>, 'keys' | 'settings'>,
): Promise<void> {
  const before = (await store.listProviders()).find(row => row.name === name)
  if (!before || before.type === type) return
  const reject = (parts: string) => {
    throw new RpcError(
      'PRECONDITION_FAILED',
      `provider ${name} is of type ${before.type} and has ${parts} of it; give it ${parts} for ${type} too, or remove it first`,
    )
  }
  if (!keys && before.keys.length > 0) reject('keys')
  const { fallbackUrls = [] } = readProviderSettings(before.settings ?? undefined)
  if (settings?.fallbackUrls === undefined && fallbackUrls.length > 0) reject('fallback URLs')
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

function summaryOf(
  { keys, settings, ...row }: ProviderRow,
  failures: ReadonlyMap<string, ProviderFailure>,
  rejections: readonly KeyRejectionRow[],
): ProviderSummary {
  const own = rejections.filter(({ provider }) => provider === row.name)
  const known = readProviderSettings(settings ?? undefined)
  return {
    ...row,
    keys: keys.map(({ hint }) => hint),
    keyDetails: keys.map(({ id, hint }) => ({ id, hint, rejection: rejectionOf(own.find(key => key.keyId === id)) })),
    settings: { ...unsetProviderSettings, ...known },
    warnings: warningsOf({ ...row, keys }, known.fallbackUrls ?? []),
    lastFailure: failures.get(row.name) ?? null,
  }
}

/** The warnings of a provider; none of one whose base URL is a path of this server. */
function warningsOf(
  { type, baseUrl, keys }: Pick<ProviderRow, 'type' | 'baseUrl' | 'keys'>,
  fallbackUrls: readonly string[],
): ProviderWarning[] {
  if (baseUrl.startsWith('/')) return []
  const warnings: ProviderWarning[] = keys.length === 0 ? ['no_key'] : []
  const ofUrl = baseUrlWarning(type, baseUrl)
  if (ofUrl) warnings.push(ofUrl)
  if (fallbackUrls.some(url => baseUrlWarning(type, url))) warnings.push('fallback_url_path')
  return warnings
}

function rejectionOf(row: KeyRejectionRow | undefined): KeyRejection | null {
  if (!row) return null
  const { status, model, reportedBy, at } = row
  return { status, model, reportedBy, at }
}
