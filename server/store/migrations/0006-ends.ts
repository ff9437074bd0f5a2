import { type Kysely, sql } from 'kysely'

const statements = [
  // null: the daemon's own end, or none yet. An end by the control plane is replaced by the daemon's own, once.
  `alter table interceptions add column ended_by text`,
  // The second end is an event of the feed too; the first has a trigger in 0003.
  `create constraint trigger interceptions_note_own_end after update of ended_at on interceptions
    deferrable initially deferred for each row when (old.ended_by is not null and new.ended_by is null)
    execute function note_record('interceptionEnded')`,
  `create index interceptions_newest_of_ended_by on interceptions (ended_by, started_at, id) where ended_by is not null`,

  // The interceptions of a daemon that is gone, each read once for its end. An index on open interceptions alone would
  // be smaller, but its condition would name ended_at: PostgreSQL then writes a new entry of every index for each end
  // (no HOT update), which doubles the cost of an end.
  `create index interceptions_newest_of_daemon_instance on interceptions (daemon_instance, started_at, id)`,

  // The processes of daemons. connected_to: the process of a server, which stays if that process dies without a word;
  // last_seen_at is renewed while there is a connection. settled_at: all interceptions of the daemon had ended then.
  `create table daemon_instances (
    instance uuid primary key,
    daemon_key_id text,
    connected_to uuid,
    last_seen_at timestamptz(3) not null,
    declared_gone_at timestamptz(3),
    settled_at timestamptz(3)
  )`,
]

/** Ends of interceptions by the control plane, and the presence of daemons. */
export async function up<Schema>(db: Kysely<Schema>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
