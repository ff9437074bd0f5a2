import { type Kysely, sql } from 'kysely'

const statements = [
  // The model that was billed, where another than the interception's was.
  `alter table token_usages add column model text`,

  // The daemon that carried a request, as its connection says; no part of the record's content. No column has an index:
  // rows are found by them only where their daemon is gone.
  `alter table interceptions add column daemon_key_id text, add column daemon_instance uuid`,
]

/** The billed model of token usages and the daemon of interceptions. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
