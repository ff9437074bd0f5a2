/** Stores records: idempotent, in order, one outcome each. */
import { CompiledQuery, type Kysely } from 'kysely'
import { interceptionIdOf, type RecordKind, recordKinds } from '../../../shared/contract/record-kinds.js'
import type { RecordOutcome } from '../../../shared/contract/recorder.js'
import type { Database } from '../sql/schema.js'
import { isForeignKeyViolation } from '../sql/sql-error.js'
import type { NormalRecord, StoredRecord } from '../store.js'
import { linkNewRecords } from './lineage.js'
import { childKinds, insertRecords, type RowKind, readHashes, toHex, writeEnds } from './record-tables.js'

/** See {@link import('../store.js').RecordStore.record}. */
export async function storeRecords(db: Kysely<Database>, records: readonly StoredRecord[]): Promise<RecordOutcome[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tryToStore(db, records)
    } catch (error) {
      // An interception was erased during the insert of one of its records. The repeat finds the interception gone.
      if (!isForeignKeyViolation(error) || attempt === maxAttempts) throw error
    }
  }
}

/** Each attempt fails on another interception that is erased at the same moment. */
const maxAttempts = 10

async function tryToStore(db: Kysely<Database>, records: readonly StoredRecord[]): Promise<RecordOutcome[]> {
  const [first] = records
  if (!first) return []
  if (records.length === 1 && !touchesLineage(first)) return storeBatch(db, records)
  return db.transaction().execute(async tx => storeBatch(tx, records, await lockInitiators(tx, records)))
}

/**
 * Returns whether a record may set a lineage, its own or another's. Any other lone record is one statement, without a
 * transaction or a lock.
 */
function touchesLineage(stored: StoredRecord): boolean {
  return (
    (stored.kind === 'interception' && continuesAnother(stored.record)) ||
    (stored.kind === 'toolUsage' && stored.record.toolCallId !== undefined) ||
    stored.kind === 'tokenUsage' ||
    stored.kind === 'promptUsage'
  )
}

function continuesAnother(record: NormalRecord<'interception'>): boolean {
  const { correlatingToolCallId, previousMsgId, conversationId } = record
  return [correlatingToolCallId, previousMsgId, conversationId].some(id => id !== undefined)
}

/**
 * Locks every initiator that the records touch, until the transaction ends, and returns the stored interceptions that
 * the records refer to.
 *
 * The lock makes lineage the same in any order of concurrent calls. The lock is per initiator, not per tool call: a
 * chain of interceptions has a tool call for each link, and the root at the top has to reach all of them. Batches take
 * the locks first and in one order, so no two batches wait for each other in a circle. Only a lone end updates an
 * interception without the lock, and holds nothing while waiting.
 */
async function lockInitiators(tx: Kysely<Database>, records: readonly StoredRecord[]): Promise<Map<string, number>> {
  const ids = new Set(records.map(stored => interceptionIdOf(stored.record)))
  const initiators = new Set(
    records.flatMap(stored => (stored.kind === 'interception' ? [stored.record.initiatorId] : [])),
  )
  const { rows } = await tx.executeQuery<{ id: string | null }>(
    CompiledQuery.raw(lockStatement, [JSON.stringify([...ids]), JSON.stringify([...initiators]), lockNamespace]),
  )
  return new Map(rows.flatMap(({ id }) => (id === null ? [] : [[id, -1]])))
}

/**
 * Seed of the keys of our advisory locks, which sets the locks apart from other programs' locks in one database; any
 * number does.
 */
const lockNamespace = 0x61_69_62

// The sub-select is sorted and count() takes its rows one by one, so the locks are taken in the order of their keys.
const lockStatement = `
  with known as materialized (
    select r.value::uuid as id, (select i.initiator_id from interceptions i where i.id = r.value::uuid) as initiator_id
    from json_array_elements_text($1::json) as r
  ),
  locked as materialized (
    select count(pg_advisory_xact_lock(key)) as locks
    from (
      select distinct hashtextextended(initiator_id::text, $3::bigint) as key
      from (select initiator_id from known union select value::uuid from json_array_elements_text($2::json)) as initiators
      where initiator_id is not null
      order by key
    ) as keys
  )
  select known.id, locked.locks from locked left join known on known.initiator_id is not null`

/**
 * Stores records with a fixed number of statements: interceptions, then their children, then the ends.
 * @param known the interceptions that were stored when the locks were taken, each with the position -1: a later
 *   interception may have an unlocked initiator. Absent for a lone record that needs no lock; its statement checks by
 *   itself.
 */
async function storeBatch(
  db: Kysely<Database>,
  records: readonly StoredRecord[],
  known?: ReadonlyMap<string, number>,
): Promise<RecordOutcome[]> {
  const outcomes: RecordOutcome[] = new Array(records.length)
  const positioned = records.map((stored, position) => ({ stored, position }))

  const interceptions = ofKind(positioned, 'interception')
  const inserted: { [kind in RowKind]?: string[] } = {}
  inserted.interception = await storeRows(db, 'interception', interceptions, outcomes)
  const availableFrom = new Map(known)
  for (const { stored, position } of interceptions) {
    if (outcomes[position]?.ok && !availableFrom.has(stored.record.id)) availableFrom.set(stored.record.id, position)
  }

  const isAvailable = ({ stored, position }: Positioned) => {
    if (!known || (availableFrom.get(interceptionIdOf(stored.record)) ?? position) < position) return true
    outcomes[position] = notFound(stored)
    return false
  }
  for (const kind of childKinds) {
    inserted[kind] = await storeRows(db, kind, ofKind(positioned, kind).filter(isAvailable), outcomes)
  }
  await linkNewRecords(db, {
    interceptions: inserted.interception,
    toolUsages: inserted.toolUsage ?? [],
    tokenUsages: inserted.tokenUsage ?? [],
    prompts: inserted.promptUsage ?? [],
  })
  await storeEnds(db, ofKind(positioned, 'interceptionEnded').filter(isAvailable), outcomes)
  return outcomes
}

interface Positioned<R extends StoredRecord = StoredRecord> {
  stored: R
  position: number
}

type OfKind<K extends RecordKind> = Positioned<Extract<StoredRecord, { kind: K }>>

function ofKind<K extends RecordKind>(positioned: readonly Positioned[], kind: K): OfKind<K>[] {
  return positioned.filter((entry): entry is OfKind<K> => entry.stored.kind === kind)
}

/**
 * Stores the records of one kind and sets their outcomes. Returns the ids of new records that set a lineage.
 */
async function storeRows(
  db: Kysely<Database>,
  kind: RowKind,
  entries: readonly Positioned<StoredRecord<RowKind>>[],
  outcomes: RecordOutcome[],
): Promise<string[]> {
  if (entries.length === 0) return []
  const firsts = new Map<string, StoredRecord<RowKind>>()
  for (const { stored } of entries) if (!firsts.has(stored.record.id)) firsts.set(stored.record.id, stored)
  const results = await insertRecords(db, kind, [...firsts.values()])
  const missed = [...firsts.keys()].filter(id => !results.has(id))
  const missedHashes = missed.length > 0 ? await readHashes(db, kind, missed) : new Map<string, string>()
  const inserted: string[] = []
  for (const { stored, position } of entries) {
    const { id } = stored.record
    const first = firsts.get(id)
    const result = results.get(id)
    if (result?.result === 'unknown interception') {
      outcomes[position] = notFound(stored)
      continue
    }
    if (result?.result === 'inserted' && first === stored && result.links) inserted.push(id)
    const winner =
      result?.result === 'stored' ? result.hash : result && first ? toHex(first.contentHash) : missedHashes.get(id)
    outcomes[position] = winner === toHex(stored.contentHash) ? { ok: true } : conflict(stored)
  }
  return inserted
}

function conflict(stored: StoredRecord): RecordOutcome {
  const message = `${recordKinds[stored.kind].label} ${stored.record.id} was recorded before with other content`
  return { ok: false, code: 'CONFLICT', message }
}

async function storeEnds(
  db: Kysely<Database>,
  entries: readonly Positioned<StoredRecord<'interceptionEnded'>>[],
  outcomes: RecordOutcome[],
): Promise<void> {
  if (entries.length === 0) return
  const firsts = new Map<string, StoredRecord<'interceptionEnded'>>()
  for (const { stored } of entries) if (!firsts.has(stored.record.id)) firsts.set(stored.record.id, stored)
  const known = await writeEnds(
    db,
    [...firsts.values()].map(stored => stored.record),
  )
  for (const { stored, position } of entries)
    outcomes[position] = known.has(stored.record.id) ? { ok: true } : notFound(stored)
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
