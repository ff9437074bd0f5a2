/** Providers and their sealed keys in SQL; the guarantees stand in store.ts. */
import { type Kysely, sql } from 'kysely'
import type { ProviderFailure } from '../../../shared/contract/admin/providers.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import type { ProviderRow, ProviderStore, SealedKey } from '../store.js'

type NewProvider = Parameters<ProviderStore['upsertProvider']>[0]

/** The providers of a database. */
export function providerStore(db: Kysely<Database>): ProviderStore {
  return {
    listProviders: () => readProviders(db),

    upsertProvider(provider, keep = []) {
      return inTransaction(db, async tx => {
        const values = toRow(provider)
        const { type, enabled, settings, base_url } = values
        const baseUrl = keep.includes('baseUrl')
          ? sql<string>`case when providers.type = excluded.type then providers.base_url else excluded.base_url end`
          : base_url
        await tx
          .insertInto('providers')
          .values(values)
          .onConflict(conflict =>
            conflict.column('name').doUpdateSet({
              ...(!keep.includes('type') && { type }),
              ...(!keep.includes('enabled') && { enabled }),
              ...(!keep.includes('settings') && { settings }),
              ...(!(keep.includes('type') && keep.includes('baseUrl')) && { base_url: baseUrl }),
              updated_at: sql`now()`,
            }),
          )
          .execute()
        if (provider.keys) {
          await tx.deleteFrom('provider_keys').where('provider_name', '=', provider.name).execute()
          await insertKeys(tx, provider.name, provider.keys)
        }
        const [row] = await readProviders(tx, provider.name)
        if (!row) throw new Error(`provider ${provider.name} is gone within the transaction that wrote it`)
        return row
      })
    },

    setProviderEnabled(name, enabled) {
      return inTransaction(db, async tx => {
        await tx.updateTable('providers').set({ enabled, updated_at: sql`now()` }).where('name', '=', name).execute()
        const [row] = await readProviders(tx, name)
        return row ?? null
      })
    },

    async removeProvider(name) {
      const { numDeletedRows } = await db.deleteFrom('providers').where('name', '=', name).executeTakeFirst()
      return numDeletedRows > 0n
    },

    async listLastFailures() {
      // The collation is that of the index on interceptions; the names of providers have another.
      const { rows } = await sql<{ provider: string } & ProviderFailure>`
        select p.name as provider, f.id as "interceptionId", f.ended_at as at, f.error_type as "errorType"
        from providers p cross join lateral (
          select i.id, i.ended_at, i.error_type from interceptions i
          where i.provider_name = p.name collate "default" and i.error_type is not null
          order by i.started_at desc, i.id desc limit 1
        ) f`.execute(db)
      return new Map(rows.map(({ provider, ...failure }) => [provider, failure]))
    },

    seedProviders(providers) {
      return inTransaction(db, async tx => {
        // A concurrent caller waits here until this transaction ends, and then finds the row.
        const first = await tx
          .insertInto('server_state')
          .values({ key: 'providers_seeded' })
          .onConflict(conflict => conflict.doNothing())
          .returning('key')
          .executeTakeFirst()
        if (!first) return false
        for (const provider of providers) {
          const added = await tx
            .insertInto('providers')
            .values(toRow(provider))
            .onConflict(conflict => conflict.doNothing())
            .returning('name')
            .executeTakeFirst()
          if (added && provider.keys) await insertKeys(tx, provider.name, provider.keys)
        }
        return true
      })
    },
  }
}

function toRow({ name, type, enabled, baseUrl, settings }: NewProvider) {
  return { name, type, enabled, base_url: baseUrl, settings: settings === null ? null : JSON.stringify(settings) }
}

async function insertKeys(db: Kysely<Database>, provider: string, keys: readonly SealedKey[]): Promise<void> {
  if (keys.length === 0) return
  const rows = keys.map(({ id, sealed, hint }, position) => ({ provider_name: provider, position, id, sealed, hint }))
  await db.insertInto('provider_keys').values(rows).execute()
}

/** All providers, or one, with their keys: one statement, so one snapshot. */
async function readProviders(db: Kysely<Database>, name?: string): Promise<ProviderRow[]> {
  let select = db
    .selectFrom('providers as p')
    .leftJoin('provider_keys as k', 'k.provider_name', 'p.name')
    .select([
      'p.name',
      'p.type',
      'p.enabled',
      'p.base_url as baseUrl',
      'p.settings',
      'p.created_at as createdAt',
      'p.updated_at as updatedAt',
      'k.id as keyId',
      'k.sealed',
      'k.hint',
    ])
    .orderBy('p.name')
    .orderBy('k.position')
  if (name !== undefined) select = select.where('p.name', '=', name)
  const providers = new Map<string, ProviderRow>()
  for (const { keyId, sealed, hint, ...row } of await select.execute()) {
    const provider = providers.get(row.name) ?? { ...row, keys: [] }
    providers.set(row.name, provider)
    if (keyId !== null && sealed !== null && hint !== null) provider.keys.push({ id: keyId, sealed, hint })
  }
  return [...providers.values()]
}
