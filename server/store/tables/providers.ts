/** Providers and their sealed keys in SQL; the guarantees stand in store.ts. */
import { type Kysely, sql } from 'kysely'
import type { ProviderFailure } from '../../../shared/contract/admin/providers.js'
import type { Database } from '../sql/schema.js'
import { inTransaction } from '../sql/transaction.js'
import type { KeyRejectionRow, ProviderRow, ProviderStore, SealedKey } from '../store.js'

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
        if (provider.keys) await replaceKeys(tx, provider.name, provider.keys)
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

    changeProviderKeys(name, change) {
      return inTransaction(db, async tx => {
        // The lock of the row keeps other changes of its keys away, those of `upsertProvider` too.
        const values = { updated_at: sql<Date>`now()` }
        const { numUpdatedRows } = await tx
          .updateTable('providers')
          .set(values)
          .where('name', '=', name)
          .executeTakeFirst()
        if (numUpdatedRows === 0n) return null
        const [before] = await readProviders(tx, name)
        await replaceKeys(tx, name, change(before?.keys ?? []))
        const [row] = await readProviders(tx, name)
        return row ?? null
      })
    },

    async noteKeyRejection({ provider, keyId, revision, status, model, reportedBy }) {
      const { rows } = await sql`
        insert into key_rejections (provider_name, key_id, revision, status, model, reported_by)
        select p.name, k.id, p.updated_at, ${status}::integer, ${model}::text, ${reportedBy}::text
        from providers p join provider_keys k on k.provider_name = p.name
        where p.name = ${provider} and k.id = ${keyId} and p.updated_at = ${revision}
        on conflict (provider_name, key_id) do update set
          revision = excluded.revision, status = excluded.status, model = excluded.model,
          reported_by = excluded.reported_by, at = now()
        where key_rejections.revision <> excluded.revision
          or (key_rejections.model is not null and excluded.model is null)
        returning key_id`.execute(db)
      return rows.length > 0
    },

    async listKeyRejections() {
      const { rows } = await sql<KeyRejectionRow>`
        select r.provider_name as provider, r.key_id as "keyId", r.status, r.model, r.reported_by as "reportedBy", r.at
        from key_rejections r join providers p on p.name = r.provider_name and p.updated_at = r.revision
        order by r.provider_name, r.key_id`.execute(db)
      return rows
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

async function replaceKeys(db: Kysely<Database>, provider: string, keys: readonly SealedKey[]): Promise<void> {
  await db.deleteFrom('provider_keys').where('provider_name', '=', provider).execute()
  await db.deleteFrom('key_rejections').where('provider_name', '=', provider).execute()
  await insertKeys(db, provider, keys)
}

/** The preferred key has the highest position: a server of the previous version takes the last key for the newest. */
async function insertKeys(db: Kysely<Database>, provider: string, keys: readonly SealedKey[]): Promise<void> {
  if (keys.length === 0) return
  const rows = keys.map(({ id, sealed, hint }, index) => {
    return { provider_name: provider, position: keys.length - 1 - index, id, sealed, hint }
  })
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
    .orderBy('k.position', 'desc')
  if (name !== undefined) select = select.where('p.name', '=', name)
  const providers = new Map<string, ProviderRow>()
  for (const { keyId, sealed, hint, ...row } of await select.execute()) {
    const provider = providers.get(row.name) ?? { ...row, keys: [] }
    providers.set(row.name, provider)
    if (keyId !== null && sealed !== null && hint !== null) provider.keys.push({ id: keyId, sealed, hint })
  }
  return [...providers.values()]
}
