import { type Kysely, sql } from 'kysely'

const statements = [
  // null: a request to a model, as a server of an older version writes them.
  'alter table interceptions add column interception_kind text',
  `create index interceptions_newest_of_kind on interceptions (interception_kind, started_at, id)
    where interception_kind is not null`,
]

/** Calls of tools by MCP clients, beside requests to models. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
