import { type Kysely, sql } from 'kysely'

const statements = [
  // An outbox of a daemon may hold records that no server has. watched_by: the subscription through which the outbox
  // learns of erasures; it stays if its server dies without a word, and last_seen_at is renewed while there is one.
  // is_empty: the daemon ended and left nothing of any user.
  `create table daemon_outboxes (
    id uuid primary key,
    daemon_key_id text,
    is_durable boolean not null,
    is_empty boolean not null default false,
    watched_by uuid,
    last_seen_at timestamptz(3) not null
  )`,
  'create index daemon_outboxes_of_key on daemon_outboxes (daemon_key_id)',

  // Users whose records every outbox has to erase. finished_at: the purge found nothing more in this database; records
  // that a daemon handed over later are erased with its confirmation.
  `create table erasures (
    id uuid primary key,
    user_id uuid not null,
    begun_at timestamptz(3) not null,
    finished_at timestamptz(3)
  )`,
  'create index erasures_of_user on erasures (user_id)',
  `create table erasure_confirmations (
    erasure_id uuid not null references erasures on delete cascade,
    outbox_id uuid not null references daemon_outboxes on delete cascade,
    records integer not null,
    primary key (erasure_id, outbox_id)
  )`,
  'create index erasure_confirmations_of_outbox on erasure_confirmations (outbox_id)',

  `create trigger erasures_note after insert on erasures
    for each statement execute function note_change('erasures')`,
  `create trigger erasure_confirmations_note after insert on erasure_confirmations
    for each statement execute function note_change('erasure_confirmations')`,
]

/** The outboxes of daemons, and the erasures that reach them. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
