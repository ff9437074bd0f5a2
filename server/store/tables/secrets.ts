/** Every column that holds sealed secrets, in SQL; the guarantees stand in store.ts. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../sql/schema.js'
import type { SecretColumn, SecretStore, StoredSecret } from '../store.js'

/** Where a secret stands: a column of type bytea, and the columns that together name its row. */
const columns: Record<SecretColumn, { table: keyof Database; column: string; key: readonly string[] }> = {
  providerKey: { table: 'provider_keys', column: 'sealed', key: ['provider_name', 'id'] },
  clientSecret: { table: 'mcp_servers', column: 'client_secret', key: ['id'] },
  accessToken: { table: 'external_auth_links', column: 'access_token', key: ['user_id', 'server_id'] },
  refreshToken: { table: 'external_auth_links', column: 'refresh_token', key: ['user_id', 'server_id'] },
}

/** The sealed secrets of a database. */
export function secretStore(db: Kysely<Database>): SecretStore {
  return {
    async listSecrets({ column: name, after, limit }) {
      const { table, column, key } = columns[name]
      const keyTexts = sql.join(key.map(part => sql`${sql.ref(part)}::text collate "C"`))
      const isLater: RawBuilder<unknown> = after ? sql`(${keyTexts}) > (${sql.join([...after])})` : sql`true`
      const { rows } = await sql<StoredSecret>`
        select json_build_array(${keyTexts}) as key, ${sql.ref(column)} as sealed from ${sql.table(table)}
        where ${sql.ref(column)} is not null and ${isLater} order by ${keyTexts} limit ${limit}`.execute(db)
      return rows
    },

    async replaceSecret({ column: name, key: values, from, to }) {
      const { table, column, key } = columns[name]
      const isRow = sql.join(
        key.map((part, index) => sql`${sql.ref(part)} = ${values[index]}`),
        sql` and `,
      )
      const { numAffectedRows } = await sql`
        update ${sql.table(table)} set ${sql.ref(column)} = ${to} where ${isRow} and ${sql.ref(column)} = ${from}`.execute(
        db,
      )
      return numAffectedRows === 1n
    },
  }
}
