/** Stores records: idempotent, in order, one outcome each. */
import { CompiledQuery, type Kysely } from 'kysely'
import { interceptionIdOf, recordKinds } from '../../../shared/contract/record-kinds.js'
import type { RecordOutcome } from '../../../shared/contract/recorder.js'
import type { Pipeline, StatementResult } from '../sql/pipeline.js'
import type { Database } from '../sql/schema.js'
import type { SqlDatabase } from '../sql/sql-database.js'
import { isForeignKeyViolation, partlyCommitted } from '../sql/sql-error.js'
import type { StoredRecord } from '../store.js'
import { lockInitiatorsOf } from './initiator-locks.js'
import { interceptionsOf, type LinkKeys, linkInterceptions } from './lineage.js'
import type { Member } from './member.js'
import { RecordBatch, splitBatches } from './record-batch.js'
import { type RowKind, rowKinds, tableOf, toHex } from './record-rows.js'

/**
 * Stores records with a fixed number of statements, as {@link import('../store.js').RecordStore.record} says: in one
 * transaction, or in several if a record stands before its interception. A record that changes the link of another
 * interception is followed by a transaction for that. Rejects if a transaction fails; the transactions before it stay.
 */
export async function storeRecords(
  { db, pipeline }: SqlDatabase,
  members: readonly Member[],
): Promise<RecordOutcome[]> {
  let hasCommitted = false
  const { isExclusive } = pipeline
  const run: Pipeline['run'] = async statements => {
    const results = await pipeline.run(statements)
    hasCommitted = true
    return results
  }
  const outcomes: RecordOutcome[] = []
  try {
    for (const batch of splitBatches(members)) {
      outcomes.push(...(await storeBatch({ db, pipeline: { isExclusive, run } }, batch, 1)))
    }
    return outcomes
  } catch (error) {
    throw hasCommitted ? partlyCommitted(error) : error
  }
}

/**
 * Each attempt but the first follows a change by another transaction at the same moment: an interception was erased, or
 * stored, between two looks.
 */
const maxAttempts = 10

async function storeBatch(database: SqlDatabase, batch: RecordBatch, attempt: number): Promise<RecordOutcome[]> {
  if (attempt > maxAttempts) throw new Error(`other transactions have changed the interceptions ${maxAttempts} times`)
  const { locks, writes, changedLinks } = batch
  const needsLocks = locks !== undefined && !database.pipeline.isExclusive
  const statements = [...(needsLocks ? [locks] : []), ...writes, ...(changedLinks ? [changedLinks] : [])]
  const results = await database.pipeline.run(statements).catch((error: unknown) => {
    // An interception was erased during the insert of one of its records. The repeat finds the interception gone.
    if (!isForeignKeyViolation(error) || attempt === maxAttempts) throw error
  })
  if (!results) return storeBatch(database, batch, attempt + 1)

  const [locked] = needsLocks ? results : []
  const written = results[statements.length - (changedLinks ? 2 : 1)]
  const linked = changedLinks ? results.at(-1) : undefined
  const isComplete = written?.rowCount === batch.size
  // An initiator without its lock: its interception was stored after the locks were taken.
  const isUnlocked =
    locked !== undefined && Number(Reflect.get(Object(locked.rows[0]), 'found')) !== batch.outsiders.size
  if ((linked && linked.rows.length > 0) || isUnlocked || (batch.hasFamilies && !isComplete)) {
    await setLinks(database.db, batch.linkKeys)
  }
  if (isComplete) return batch.members.map(member => compareToFirst(batch, member))
  return examine(database, batch, attempt)
}

function setLinks(db: Kysely<Database>, keys: LinkKeys): Promise<void> {
  return db.transaction().execute(async tx => {
    const { sql, parameters } = lockInitiatorsOf(interceptionsOf(keys))
    await tx.executeQuery(CompiledQuery.raw(sql, [...parameters]))
    await linkInterceptions(tx, keys)
  })
}

/** Reads the outcomes from the tables, where not every record of a batch was new. */
async function examine(database: SqlDatabase, batch: RecordBatch, attempt: number): Promise<RecordOutcome[]> {
  const { hashes, interceptions } = await readStored(database.pipeline, batch)
  const again: Member[] = []
  const outcomes = batch.members.map(member => {
    const { stored } = member
    if (stored.kind !== 'interceptionEnded') {
      const hash = hashes.get(stored.kind)?.get(stored.record.id)
      if (hash !== undefined) return compare(stored, hash)
    }
    const hasEnd = interceptions.get(interceptionIdOf(stored.record))
    if (hasEnd === undefined && stored.kind !== 'interception') return notFound(stored)
    if (hasEnd === true && stored.kind === 'interceptionEnded') return ok
    again.push(member)
    return undefined
  })
  const more = again.length > 0 ? await storeBatch(database, new RecordBatch(again), attempt + 1) : []
  const rest = more.values()
  return outcomes.map(outcome => outcome ?? rest.next().value ?? missing())
}

interface Stored {
  /** kind → id → hash in hexadecimal */
  hashes: ReadonlyMap<RowKind, ReadonlyMap<string, string>>
  /** id of a stored interception → whether it has an end of its daemon */
  interceptions: ReadonlyMap<string, boolean>
}

async function readStored(pipeline: Pipeline, { firsts, members }: RecordBatch): Promise<Stored> {
  const kinds = rowKinds.filter(kind => firsts[kind].size > 0)
  const interceptionIds = new Set(members.map(({ stored }) => interceptionIdOf(stored.record)))
  const [ends, ...rows] = await pipeline.run([
    { sql: readEndsStatement, parameters: [arrayOf(interceptionIds)] },
    ...kinds.map(kind => ({ sql: readHashesStatement(kind), parameters: [arrayOf(firsts[kind].keys())] })),
  ])
  return {
    hashes: new Map(kinds.map((kind, index) => [kind, valuesOf<string>(rows[index])])),
    interceptions: valuesOf<boolean>(ends),
  }
}

/** @template V the type of the column `value`, as the statement says */
function valuesOf<V>(result: StatementResult | undefined): Map<string, V> {
  const rows = (result?.rows ?? []) as { id: string; value: V }[]
  return new Map(rows.map(({ id, value }) => [id, value]))
}

function readHashesStatement(kind: RowKind): string {
  return `select id, encode(content_hash, 'hex') as value from ${tableOf(kind)} where id = any($1::uuid[])`
}

const readEndsStatement = `
  select id, ended_at is not null and ended_by is null as value from interceptions where id = any($1::uuid[])`

function arrayOf(ids: Iterable<string>): string {
  return `{${[...ids].join(',')}}`
}

const ok: RecordOutcome = { ok: true }

/** Of several ends the first counts, whatever the others say. */
function compareToFirst(batch: RecordBatch, { stored }: Member): RecordOutcome {
  const first = batch.firsts[stored.kind].get(stored.record.id)?.stored
  if (!first || first === stored || stored.kind === 'interceptionEnded' || first.kind === 'interceptionEnded') return ok
  return compare(stored, toHex(first.contentHash))
}

function compare(stored: StoredRecord<RowKind>, hash: string): RecordOutcome {
  return toHex(stored.contentHash) === hash ? ok : conflict(stored)
}

function conflict(stored: StoredRecord): RecordOutcome {
  const message = `${recordKinds[stored.kind].label} ${stored.record.id} was recorded before with other content`
  return { ok: false, code: 'CONFLICT', message }
}

function notFound(stored: StoredRecord): RecordOutcome {
  const child =
    stored.kind === 'interceptionEnded' ? 'its end' : `${recordKinds[stored.kind].label} ${stored.record.id}`
  return {
    ok: false,
    code: 'NOT_FOUND',
    message: `no interception ${interceptionIdOf(stored.record)} is recorded, so ${child} cannot be`,
  }
}

function missing(): never {
  throw new Error('a repeat returned fewer outcomes than it was given records')
}
