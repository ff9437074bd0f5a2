/** The feed of records in SQL; the guarantees stand in store.ts, the triggers that write the feed in migration 0003. */
import type { Kysely } from 'kysely'
import type { WatchedRecord, WatchedRecords } from '../../../shared/contract/admin/watch.js'
import type { RecordKind } from '../../../shared/contract/record-kinds.js'
import type { Database } from '../sql/schema.js'
import { initiatorNameOf, interceptionKindOf } from '../sql/username-of.js'
import type { FeedStore } from '../store.js'
import {
  readEnds,
  readInterceptions,
  selectModelThoughts,
  selectPrompts,
  selectTokenUsages,
  selectToolUsages,
} from './interceptions.js'

/** The feed of a database. */
export function feedStore(db: Kysely<Database>): FeedStore {
  return {
    async feedEnd() {
      const { end } = await db
        .selectFrom('record_feed')
        .select(({ fn }) => fn.max<number | null>('position').as('end'))
        .executeTakeFirstOrThrow()
      return end ?? trimmedTo(db)
    },

    readFeed({ after, limit }) {
      // One snapshot: a record named by the feed is present unless erased before.
      return db
        .transaction()
        .setIsolationLevel('repeatable read')
        .setAccessMode('read only')
        .execute(async tx => {
          const rows = await tx
            .selectFrom('record_feed')
            .select(['position', 'kind', 'id'])
            .where('position', '>', after)
            .orderBy('position')
            .limit(limit)
            .execute()
          if (after < (await trimmedTo(tx))) return { known: false, events: [], end: after, isWhole: true }
          const records = await readRecords(tx, rows)
          return {
            known: true,
            events: rows.flatMap(({ position, kind, id }) => {
              const record = records.get(keyOf(kind, id))
              return record ? [{ position, record }] : []
            }),
            end: rows.at(-1)?.position ?? after,
            isWhole: rows.length < limit,
          }
        })
    },
  }
}

async function trimmedTo(db: Kysely<Database>): Promise<number> {
  const { position } = await db.selectFrom('record_feed_trimmed').select('position').executeTakeFirstOrThrow()
  return position
}

type Named<R> = R & Pick<WatchedRecord, 'username' | 'interceptionKind'>

/** Kind → the function that reads records by id, each with the name of the user: one statement for all. */
const readers: { [K in RecordKind]: (db: Kysely<Database>, ids: string[]) => Promise<Named<WatchedRecords[K]>[]> } = {
  interception: readInterceptions,
  interceptionEnded: readEnds,
  tokenUsage: (db, ids) =>
    selectTokenUsages(db)
      .select([initiatorNameOf('token_usages.interception_id'), interceptionKindOf('token_usages.interception_id')])
      .where('id', 'in', ids)
      .execute(),
  promptUsage: (db, ids) =>
    selectPrompts(db)
      .select([initiatorNameOf('user_prompts.interception_id'), interceptionKindOf('user_prompts.interception_id')])
      .where('id', 'in', ids)
      .execute(),
  toolUsage: (db, ids) =>
    selectToolUsages(db)
      .select([initiatorNameOf('tool_usages.interception_id'), interceptionKindOf('tool_usages.interception_id')])
      .where('id', 'in', ids)
      .execute(),
  modelThought: (db, ids) =>
    selectModelThoughts(db)
      .select([initiatorNameOf('model_thoughts.interception_id'), interceptionKindOf('model_thoughts.interception_id')])
      .where('id', 'in', ids)
      .execute(),
}

/** Reads the records of feed rows, by {@link keyOf}; one statement for each kind. */
async function readRecords(
  db: Kysely<Database>,
  rows: readonly { kind: RecordKind; id: string }[],
): Promise<Map<string, WatchedRecord>> {
  const idsOf = new Map<RecordKind, string[]>()
  for (const { kind, id } of rows) idsOf.set(kind, [...(idsOf.get(kind) ?? []), id])
  const found = new Map<string, WatchedRecord>()
  for (const [kind, ids] of idsOf) {
    for (const named of await readers[kind](db, ids)) {
      const { username, interceptionKind, ...bare } = named
      const record = kind === 'interception' ? named : bare
      found.set(keyOf(kind, named.id), { kind, record, username, interceptionKind } as WatchedRecord) // the reader of a kind reads that kind
    }
  }
  return found
}

function keyOf(kind: RecordKind, id: string): string {
  return `${kind} ${id}`
}
