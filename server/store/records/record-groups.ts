/**
 * Group commit: calls that come while a transaction is under way are stored together by the next one. A transaction
 * costs as much as ten of its rows, so a busy store spends its time on rows.
 *
 *     call ──▶ pending ──a lane is free──▶ one group ──▶ outcomes, each to its call
 *
 * A call alone waits for nothing but the end of the event loop's turn. Groups of one lane follow one another; a store
 * whose transactions run side by side opens another lane when calls have waited for long, so that a transaction that
 * waits for a lock of another process stops the calls of its own group only. Calls about one interception are stored in
 * the order in which they came, also by several lanes.
 */
import { setImmediate } from 'node:timers'
import { recordLimits } from '../../../shared/contract/limits.js'
import { interceptionIdOf, recordKinds } from '../../../shared/contract/record-kinds.js'
import type { RecordOutcome } from '../../../shared/contract/recorder.js'
import { contentFault, mayBeOfOneRow, mayHaveCommitted, partlyCommitted } from '../sql/sql-error.js'
import type { StoredRecord } from '../store.js'
import { type Member, toMember } from './member.js'

/** A call waits this long for a lane that is open, and then gets one of its own. */
const laneWaitMs = 10

interface Call {
  members: readonly Member[]
  interceptionIds: ReadonlySet<string>
  characters: number
  resolve(outcomes: RecordOutcome[]): void
  reject(error: unknown): void
}

/** The calls of a store that write records. */
export class RecordGroups {
  readonly #store: (members: readonly Member[]) => Promise<RecordOutcome[]>
  readonly #maxLanes: number
  #pending: Call[] = []
  #isStarting = false
  #lanes = 0
  /** of the groups under way */
  readonly #interceptionIds = new Set<string>()
  #laneTimer: NodeJS.Timeout | undefined

  /**
   * @param store stores the members of a group, in order, with one outcome for each
   * @param maxLanes groups that may be stored side by side
   */
  constructor(store: (members: readonly Member[]) => Promise<RecordOutcome[]>, { maxLanes }: { maxLanes: number }) {
    this.#store = store
    this.#maxLanes = maxLanes
  }

  /**
   * Stores records with those of other calls. A record whose content the database does not take is `BAD_REQUEST`, and
   * the others are stored. Rejects if a transaction of the call's records fails; a repeat is safe.
   */
  record(records: readonly StoredRecord[]): Promise<RecordOutcome[]> {
    if (records.length === 0) return Promise.resolve([])
    return new Promise((resolve, reject) => {
      const members = records.map(toMember)
      const interceptionIds = new Set(records.map(({ record }) => interceptionIdOf(record)))
      const characters = members.reduce((sum, { row }) => sum + row.length, 0)
      this.#pending.push({ members, interceptionIds, characters, resolve, reject })
      if (this.#lanes === 0) this.#startSoon()
      else this.#openLaneLater()
    })
  }

  /** At the end of the turn, when all calls that have arrived are pending. */
  #startSoon(): void {
    if (this.#isStarting) return
    this.#isStarting = true
    setImmediate(() => {
      this.#isStarting = false
      this.#start()
    })
  }

  #start(): void {
    const group = this.#takeGroup()
    if (group.length > 0) void this.#storeGroup(group)
  }

  /** Another lane is for calls that have waited for a whole pause, in which no group began. */
  #openLaneLater(): void {
    if (this.#laneTimer || this.#lanes >= this.#maxLanes) return
    this.#laneTimer = setTimeout(() => {
      this.#laneTimer = undefined
      this.#start()
      if (this.#pending.length > 0) this.#openLaneLater()
    }, laneWaitMs)
  }

  /**
   * Takes the first pending calls, at most as much as one call may bring, and none about an interception of a group
   * under way or of a call that was passed over.
   */
  #takeGroup(): Call[] {
    const group: Call[] = []
    const left: Call[] = []
    const passed = new Set<string>()
    let records: number = recordLimits.maxBatchRecords
    let characters: number = recordLimits.maxBatchBytes
    for (const [index, call] of this.#pending.entries()) {
      if (some(call.interceptionIds, id => passed.has(id) || this.#interceptionIds.has(id))) {
        for (const id of call.interceptionIds) passed.add(id)
        left.push(call)
        continue
      }
      records -= call.members.length
      characters -= call.characters
      if (group.length > 0 && (records < 0 || characters < 0)) {
        left.push(...this.#pending.slice(index))
        break
      }
      group.push(call)
    }
    this.#pending = left
    return group
  }

  async #storeGroup(group: readonly Call[]): Promise<void> {
    clearTimeout(this.#laneTimer)
    this.#laneTimer = undefined
    this.#lanes++
    const ids = group.flatMap(({ interceptionIds }) => [...interceptionIds])
    for (const id of ids) this.#interceptionIds.add(id)
    const results = await this.#storeApart(
      group.flatMap(({ members }) => members),
      false,
    )
    let begin = 0
    for (const call of group) {
      settle(call, results.slice(begin, begin + call.members.length))
      begin += call.members.length
    }
    for (const id of ids) this.#interceptionIds.delete(id)
    this.#lanes--
    if (this.#pending.length > 0) this.#startSoon()
  }

  /**
   * Stores members; where one of them may be the reason for a failure, finds the member by halves. Never rejects.
   *
   * @param hasCommitted whether an attempt with these members, and others, may have committed a part of them
   */
  async #storeApart(members: readonly Member[], hasCommitted: boolean): Promise<Result[]> {
    let mayBeStored = hasCommitted
    try {
      return await this.#store(members)
    } catch (thrown) {
      const error = hasCommitted ? partlyCommitted(thrown) : thrown
      const [first] = members
      if (!first || !mayBeOfOneRow(error)) return members.map(() => ({ error }))
      if (members.length === 1) return [rejected(first.stored, error)]
      mayBeStored = mayHaveCommitted(error)
    }
    const half = members.length >> 1
    return [
      ...(await this.#storeApart(members.slice(0, half), mayBeStored)),
      ...(await this.#storeApart(members.slice(half), mayBeStored)),
    ]
  }
}

/** The outcome of a member, or the failure of its transaction. */
type Result = RecordOutcome | Failure
interface Failure {
  error: unknown
}

function isFailure(result: Result): result is Failure {
  return 'error' in result
}

/** The parts of a call are stored apart from one another: its first failure tells of all of them. */
function settle({ resolve, reject }: Call, results: readonly Result[]): void {
  const outcomes = results.flatMap(result => (isFailure(result) ? [] : [result]))
  const [failure, ...others] = results.filter(isFailure)
  if (failure === undefined) return resolve(outcomes)
  const mayBeStored = outcomes.length > 0 || others.some(({ error }) => mayHaveCommitted(error))
  reject(mayBeStored ? partlyCommitted(failure.error) : failure.error)
}

function some<T>(values: Iterable<T>, isSo: (value: T) => boolean): boolean {
  for (const value of values) if (isSo(value)) return true
  return false
}

/** The content of a record is the record's own fault, and no repeat helps; all else may be the database's. */
function rejected({ kind, record }: StoredRecord, error: unknown): Result {
  const state = contentFault(error)
  if (state === undefined) return { error }
  const message = `the database does not take the content of ${recordKinds[kind].label} ${record.id} (SQLSTATE ${state})`
  return { ok: false, code: 'BAD_REQUEST', message }
}
