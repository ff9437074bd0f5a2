import { type Kysely, sql } from 'kysely'

const statements = [
  // A server of an older version adds MCP servers without the column, and must go on doing so.
  'alter table mcp_servers add column inject boolean not null default false',
]

/** MCP servers whose tools bridges put into model requests. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
