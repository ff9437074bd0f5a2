/** Records that are written by one transaction: in which statements, and with which locks. */
import { interceptionIdOf, type RecordKind } from '../../../shared/contract/record-kinds.js'
import type { Statement } from '../sql/pipeline.js'
import type { NormalRecord } from '../store.js'
import { lockInitiators } from './initiator-locks.js'
import { changedLinks, type LinkKeys } from './lineage.js'
import type { Member } from './member.js'
import { type FollowingKind, followingKinds, followingStatement, interceptionsStatement } from './record-statements.js'

/** Record id → its first record. */
type Firsts<K extends RecordKind = RecordKind> = ReadonlyMap<string, Member<K>>

/**
 * Records of any kinds in which no record stands before its interception ({@link splitBatches}). Of several records
 * with one id, the first is written.
 */
export class RecordBatch {
  readonly members: readonly Member[]
  /** Kind → the records that are written. */
  readonly firsts: { readonly [K in RecordKind]: Firsts<K> }
  /** the number of records that are written */
  readonly size: number
  /** the interceptions of children and ends, if they are no part of the batch */
  readonly outsiders: ReadonlySet<string>
  /** whether an interception and a record that follows it are both in the batch */
  readonly hasFamilies: boolean
  readonly linkKeys: LinkKeys

  constructor(members: readonly Member[]) {
    const firsts: { [K in RecordKind]: Map<string, Member<K>> } = {
      interception: new Map(),
      interceptionEnded: new Map(),
      tokenUsage: new Map(),
      promptUsage: new Map(),
      toolUsage: new Map(),
      modelThought: new Map(),
    }
    const outsiders = new Set<string>()
    let hasFamilies = false
    let size = 0
    for (const member of members) {
      const { kind, record } = member.stored
      const known = firsts[kind] as Map<string, Member> // of this kind
      if (!known.has(record.id)) {
        known.set(record.id, member)
        size++
      }
      const interceptionId = interceptionIdOf(record)
      if (kind === 'interception') continue
      if (firsts.interception.has(interceptionId)) hasFamilies = true
      else outsiders.add(interceptionId)
    }
    this.members = members
    this.firsts = firsts
    this.size = size
    this.outsiders = outsiders
    this.hasFamilies = hasFamilies
    this.linkKeys = linkKeysOf(firsts)
  }

  /** The statement that takes the locks; undefined if no record of the batch touches lineage. */
  get locks(): Statement | undefined {
    const { interception: interceptions, interceptionEnded: ends, ...children } = this.firsts
    const initiators = [...interceptions.values()].flatMap(({ stored: { record } }) => {
      const exclusive = continuesAnother(record)
      return exclusive || this.hasFamilies ? [{ id: record.initiatorId, exclusive }] : []
    })
    // Ends write to interceptions, as a change of a link does.
    const hasUsages = children.tokenUsage.size + children.promptUsage.size + children.toolUsage.size > 0
    if (initiators.length === 0 && ends.size === 0 && !hasUsages) return undefined
    // The initiator of a stored interception may be another than the batch says.
    const families = this.hasFamilies ? interceptions.keys() : []
    return lockInitiators({ interceptionIds: [...this.outsiders, ...families], initiators })
  }

  /** The statements that write. The row count of the last one is the number of records that are new. */
  get writes(): Statement[] {
    const interceptions = sorted(this.firsts.interception)
    const following = shapeOf(followingKinds.filter(kind => this.firsts[kind].size > 0))
    const noted = following.length === 0
    const continuing = interceptions.some(({ stored: { record } }) => continuesAnother(record))
    const statements: Statement[] = []
    if (interceptions.length > 0) {
      statements.push({
        sql: interceptionsStatement({ continuing, noted }),
        parameters: [listOf(interceptions)],
      })
    }
    if (noted) return statements
    const notes = interceptions.length > 0
    const parameters = following.map(kind =>
      kind === 'interceptionEnded' ? objectOf(this.firsts[kind]) : listOf(sorted<RecordKind>(this.firsts[kind])),
    )
    if (notes) parameters.push(JSON.stringify(interceptions.map(({ stored }) => stored.record.id)))
    statements.push({ sql: followingStatement(following, notes), parameters })
    return statements
  }

  /** The statement whose rows are the interceptions that get another link by this batch. */
  get changedLinks(): Statement | undefined {
    return changedLinks(this.linkKeys)
  }
}

/** Splits records where an interception stands behind a record that follows it, which needs a stored interception. */
export function splitBatches(members: readonly Member[]): RecordBatch[] {
  const batches: RecordBatch[] = []
  let begin = 0
  let known = new Set<string>()
  let missed = new Set<string>()
  for (const [index, { stored }] of members.entries()) {
    const interceptionId = interceptionIdOf(stored.record)
    if (stored.kind !== 'interception') {
      if (!known.has(interceptionId)) missed.add(interceptionId)
      continue
    }
    if (missed.has(interceptionId)) {
      batches.push(new RecordBatch(members.slice(begin, index)))
      begin = index
      known = new Set()
      missed = new Set()
    }
    known.add(interceptionId)
  }
  batches.push(new RecordBatch(members.slice(begin)))
  return batches
}

function continuesAnother({ correlatingToolCallId, previousMsgId, conversationId }: NormalRecord<'interception'>) {
  return correlatingToolCallId !== undefined || previousMsgId !== undefined || conversationId !== undefined
}

/**
 * The kinds of a statement that writes some kinds: one kind alone, or else the kinds that a request has, with tools and
 * thoughts where there are some. Sessions keep each statement prepared, so there are few.
 */
function shapeOf(kinds: readonly FollowingKind[]): readonly FollowingKind[] {
  if (kinds.length < 2) return kinds
  return followingKinds.filter(kind => usual.has(kind) || kinds.includes(kind))
}

const usual: ReadonlySet<FollowingKind> = new Set(['tokenUsage', 'promptUsage', 'interceptionEnded'])

function linkKeysOf(firsts: { [K in RecordKind]: Firsts<K> }): LinkKeys {
  const calls = [...firsts.toolUsage.values()].flatMap(({ stored: { record } }) =>
    record.toolCallId === undefined ? [] : [{ interceptionId: record.interceptionId, key: record.toolCallId }],
  )
  // The prompt and the token usages of a response have one key.
  const messages = new Map(
    [...firsts.tokenUsage.values(), ...firsts.promptUsage.values()].map(({ stored: { record } }) => [
      `${record.interceptionId} ${record.msgId}`,
      { interceptionId: record.interceptionId, key: record.msgId },
    ]),
  )
  const conversations = [...firsts.interception.values()].flatMap(({ stored: { record } }) =>
    record.conversationId === undefined ? [] : [record.id],
  )
  return { calls, messages: [...messages.values()], conversations }
}

/** Returns the records in the order of their ids. */
function sorted<K extends RecordKind>(firsts: Firsts<K>): Member<K>[] {
  return [...firsts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, member]) => member)
}

function listOf(members: readonly Member[]): string {
  return `[${members.map(({ row }) => row).join(',')}]`
}

function objectOf(firsts: Firsts): string {
  return `{${[...firsts].map(([id, { row }]) => `"${id}":${row}`).join(',')}}`
}
