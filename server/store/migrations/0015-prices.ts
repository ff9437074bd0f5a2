import { type Kysely, sql } from 'kysely'

const statements = [
  // A price that has priced records; the id stands for the content, and the row never changes.
  `create table prices (
    id text collate "C" primary key,
    price jsonb not null,
    created_at timestamptz(3) not null default now()
  )`,
  // provider is empty for a price that holds at every provider.
  `create table own_prices (
    provider text collate "C" not null,
    model text collate "C" not null,
    definition jsonb not null,
    updated_at timestamptz(3) not null default now(),
    primary key (provider, model)
  )`,
  `create trigger own_prices_note after insert or update or delete on own_prices
    for each statement execute function note_change('prices')`,

  // Null: unpriced, as the rows of servers before this step are. price_id refers to no row for the database to check: a
  // price is stored before the records that it prices, and is never deleted.
  `alter table token_usages add column price_id text, add column cost_nanos bigint,
    add column cost_estimated boolean`,
  `create index token_usages_unpriced on token_usages (created_at, id) where cost_nanos is null`,
]

/** Prices and costs. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
