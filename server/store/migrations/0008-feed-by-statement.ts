import { type Kysely, sql } from 'kysely'

/** Record table → kind of the records. */
const recordKinds = {
  interceptions: 'interception',
  token_usages: 'tokenUsage',
  user_prompts: 'promptUsage',
  tool_usages: 'toolUsage',
  model_thoughts: 'modelThought',
} as const

/** Set for a transaction that adds its rows to the feed by itself (records/record-statements.ts). */
const unmarked = `current_setting('aibridge.feed', true) is distinct from 'by_statement'`

/** The triggers of 0003 and 0006 for transactions of servers that know no mark; a new condition needs a new trigger. */
const statements = [
  ...Object.entries(recordKinds).flatMap(([table, kind]) => [
    `drop trigger ${table}_note on ${table}`,
    `create constraint trigger ${table}_note after insert on ${table}
      deferrable initially deferred for each row when (${unmarked}) execute function note_record('${kind}')`,
  ]),
  'drop trigger interceptions_note_end on interceptions',
  `create constraint trigger interceptions_note_end after update of ended_at on interceptions
    deferrable initially deferred for each row when (old.ended_at is null and new.ended_at is not null and ${unmarked})
    execute function note_record('interceptionEnded')`,
  'drop trigger interceptions_note_own_end on interceptions',
  `create constraint trigger interceptions_note_own_end after update of ended_at on interceptions
    deferrable initially deferred for each row when (old.ended_by is not null and new.ended_by is null and ${unmarked})
    execute function note_record('interceptionEnded')`,
]

/** Rows of the feed that are written by one statement for all records of a transaction, not by a trigger for each. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
