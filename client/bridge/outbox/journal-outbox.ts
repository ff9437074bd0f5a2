import { randomUUID } from 'node:crypto'
import { type BridgeLimits, bridgeLimits } from '../../../shared/contract/limits.js'
import { interceptionIdOf } from '../../../shared/contract/record-kinds.js'
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import { damagedIn } from './damaged-parts.js'
import { type DeadLetter, DeadLetters } from './dead-letters.js'
import { Delivery } from './delivery.js'
import { type FsyncMode, type Journal, openJournal, type RecoveredKey } from './journal/journal.js'
import { type FoundKeys, idEntry, instanceKey, letterKey, sortKeys } from './journal-keys.js'
import { LetterWatch } from './letter-watch.js'
import { OpenInterceptions, userOf } from './open-interceptions.js'
import type { Outbox, OutboxRest, SendRecords } from './outbox.js'
import type { Parcel } from './parcel.js'
import { declarePredecessorsGone } from './predecessors.js'
import { textOfRecords } from './record-text.js'
import { recoveredParcels } from './recovery.js'
import { logRest } from './rest.js'
import { TaskSet } from './task-set.js'

/** Options of {@link openJournalOutbox}. */
export interface JournalOutboxOptions {
  /** hands records to the control plane */
  send: SendRecords
  /** lets the control plane end what these earlier processes of the daemon left open; default: nobody is told */
  declareGone?: (daemonInstances: string[], signal: AbortSignal) => Promise<unknown>
  /** the outbox's own folder, made if it is missing; one process at a time */
  folder: string
  /** when records are synced to the disk; default `interval`: 200 ms after they were written, at most */
  fsync?: FsyncMode
  /** the UUID with which this process connects to the control plane */
  daemonInstance: string
  logger: Logger
  limits?: Partial<BridgeLimits>
}

/**
 * Opens an {@link Outbox} on disk, in a journal, and hands over what an earlier process left there. Records that this
 * outbox has taken outlive the process; after a power cut, those of the last 200 ms may be missing with `interval`, and
 * more with `never`.
 * @throws PRECONDITION_FAILED `data_in_use` if another process has the folder; the error of the disk if the folder
 *   cannot be read or written
 */
export async function openJournalOutbox(options: JournalOutboxOptions): Promise<Outbox> {
  const { folder, fsync = 'interval', logger } = options
  const journal = await openJournal({ folder, fsync, logger })
  try {
    const letters = new DeadLetters(folder)
    await letters.open()
    const found = sortKeys(journal.takeRecovered())
    const { id = randomUUID() } = found
    if (found.id === undefined) await journal.put(...idEntry, id)
    await journal.put(instanceKey(options.daemonInstance), 'opened', '')
    return new JournalOutbox(options, { id, journal, letters, found })
  } catch (error) {
    await journal.close()
    throw error
  }
}

/** Time between two attempts to write records that the disk did not take. */
const diskRetryMs = 1_000

/** The parts of an opened outbox. */
interface Opened {
  id: string
  journal: Journal
  letters: DeadLetters
  found: FoundKeys
}

class JournalOutbox implements Outbox {
  readonly id: string
  readonly isDurable = true
  /** see {@link Outbox}; known after `close()` */
  isEmpty = false
  readonly #journal: Journal
  readonly #letters: DeadLetters
  readonly #letterWatch: LetterWatch
  readonly #declare: JournalOutboxOptions['declareGone']
  readonly #folder: string
  readonly #ownKey: string
  readonly #logger: Logger
  readonly #limits: BridgeLimits
  readonly #delivery: Delivery
  readonly #stopped = new AbortController()
  readonly #open = new OpenInterceptions()
  /** the keys of the journal with records, and their users where these are known */
  readonly #keys = new Map<string, string | undefined>()
  /** entries that this version cannot read */
  readonly #unreadable = new Map<string, RecoveredKey['slots']>()
  /** interceptions whose records are in memory only */
  readonly #unwritten = new Set<string>()
  readonly #puts = new TaskSet()
  readonly #tasks = new TaskSet()
  #closed: Promise<OutboxRest> | undefined

  constructor(options: JournalOutboxOptions, { id, journal, letters, found }: Opened) {
    const { send, declareGone, folder, daemonInstance, logger, limits } = options
    this.id = id
    this.#journal = journal
    this.#letters = letters
    this.#declare = declareGone
    this.#folder = folder
    this.#ownKey = instanceKey(daemonInstance)
    this.#logger = logger
    this.#limits = { ...bridgeLimits, ...limits }
    const { signal } = this.#stopped
    const takeOver = (letter: DeadLetter) => this.#takeOver(letter)
    const watch = new LetterWatch({ letters, folder, logger, takeOver, signal })
    this.#letterWatch = watch
    const keepRejected = watch.keep.bind(watch)
    this.#delivery = new Delivery({ send, logger, limits: this.#limits, keepRejected })
    this.#recover(found)
    this.#tasks.add(watch.run())
  }

  get size(): number {
    return this.#delivery.size
  }

  get oldestMs(): number {
    return this.#delivery.oldestMs
  }

  get deadLetters(): number {
    return this.#delivery.rejected
  }

  admit(): boolean {
    if (this.#closed) return false
    return this.#delivery.size < this.#limits.outboxMaxRecords && this.#delivery.bytes < this.#limits.outboxMaxBytes
  }

  async begin(
    interception: BatchRecord<'interception'>,
    ifLost: readonly BatchRecord[],
    recorded?: Promise<unknown>,
  ): Promise<void> {
    const { id, initiatorId } = interception
    if (!this.#open.begin(interception, recorded)) throw new Error('the user was erased')
    this.#keys.set(id, initiatorId)
    await this.#journal.put(id, 'start', textOfRecords([interception, ...ifLost], initiatorId).text)
  }

  note(interceptionId: string, ifLost: readonly BatchRecord[]): void {
    if (!this.#open.has(interceptionId)) return
    const { text } = textOfRecords(ifLost, this.#keys.get(interceptionId))
    this.#journal.put(interceptionId, 'progress', text).catch(() => {}) // the next note, or the end, comes soon
  }

  forget(interceptionId: string): void {
    this.#open.end(interceptionId)
    this.#remove(interceptionId)
  }

  async put(records: readonly BatchRecord[]): Promise<void> {
    const [first] = records
    if (!first) return
    if (this.#stopped.signal.aborted) throw new Error(`the outbox is closed, ${records.length} records were not taken`)
    const id = interceptionIdOf(first)
    const interception = this.#open.end(id)
    const userId = userOf(records, interception ?? undefined)
    if (interception === null || (userId !== undefined && this.hasErased(userId))) return
    const { sized, text } = textOfRecords(records, userId)
    this.#keys.set(id, userId)
    const keeping = this.#keep(id, text, { records: sized, interception, userId })
    this.#puts.add(keeping)
    await keeping
  }

  flush(): Promise<void> {
    return this.#delivery.flush()
  }

  close({ timeoutMs }: { timeoutMs: number }): Promise<OutboxRest> {
    this.#closed ??= this.#close(timeoutMs)
    return this.#closed
  }

  async erase(userIds: ReadonlySet<string>): Promise<ReadonlyMap<string, number>> {
    // At once: what the control plane responds from now on must bring nothing back.
    const begun = this.#open.erase(userIds)
    const dropped = this.#erasePending(userIds)
    const erasing = this.#letterWatch.inTurn(() => this.#eraseFiles(userIds, dropped))
    this.#tasks.add(erasing)
    const [counts] = await Promise.all([erasing, begun])
    return counts
  }

  hasErased(userId: string): boolean {
    return this.#open.hasErased(userId)
  }

  #erasePending(userIds: ReadonlySet<string>): Promise<Map<string, number>> {
    for (const [key, userId] of this.#keys) if (userId !== undefined && userIds.has(userId)) this.#remove(key)
    for (const [key, slots] of this.#unreadable) if (namesOneOf(slots, userIds)) this.#remove(key)
    return this.#delivery.erase(userIds)
  }

  async #eraseFiles(
    userIds: ReadonlySet<string>,
    dropped: Promise<ReadonlyMap<string, number>>,
  ): Promise<Map<string, number>> {
    const total = new Map<string, number>()
    // Letters may have been taken over to be sent again until it was this turn.
    for (const counts of [await dropped, await this.#erasePending(userIds), await this.#letters.erase(userIds)]) {
      for (const [userId, count] of counts) total.set(userId, (total.get(userId) ?? 0) + count)
    }
    const { length: damaged } = await damagedIn(this.#folder)
    await this.#journal.rewrite()
    const fields = { damaged, folder: this.#folder }
    if (damaged > 0) this.#logger.warn(fields, 'damaged parts of the journal were removed with erased users')
    return total
  }

  #remove(key: string): void {
    this.#keys.delete(key)
    this.#unreadable.delete(key)
    this.#journal.remove(key)
  }

  /** Writes the records, then begins to send them; no record is sent before all are written. */
  async #keep(key: string, text: string, parcel: Parcel): Promise<void> {
    const onDelivered = () => this.#remove(key)
    try {
      await this.#journal.put(key, 'finished', text)
    } catch (error) {
      if (this.#keys.has(key)) return this.#keepWithoutDisk(key, text, parcel, error)
    }
    // An erasure came meanwhile.
    if (!this.#keys.has(key)) return
    this.#delivery.add({ onDelivered, ...parcel })
  }

  /**
   * Sends records that the disk does not take, and tries to write them meanwhile. Resolves when the control plane or
   * the disk has them.
   */
  async #keepWithoutDisk(key: string, text: string, parcel: Parcel, error: unknown): Promise<void> {
    const { signal } = this.#stopped
    this.#logger.error(
      { err: error, interceptionId: key, folder: this.#folder },
      'the outbox cannot be written: the last bytes of a response wait until the control plane has its records',
    )
    this.#unwritten.add(key)
    const delivered = new AbortController()
    const onDelivered = () => {
      this.#unwritten.delete(key)
      this.#remove(key)
      delivered.abort()
    }
    this.#delivery.add({ ...parcel, onDelivered })
    const over = AbortSignal.any([signal, delivered.signal])
    for (;;) {
      await abortablePause(diskRetryMs, over)
      // The control plane has them, or their user was erased.
      if (delivered.signal.aborted || !this.#keys.has(key)) return
      if (signal.aborted) throw new Error('the outbox is closed, and its disk did not take the records')
      try {
        await this.#journal.put(key, 'finished', text)
        this.#unwritten.delete(key)
        return
      } catch {
        // The first failure is logged; the journal has the newest one.
      }
    }
  }

  /** Sends what an earlier process left, then tells the control plane that this process is gone. */
  #recover({ instances, withRecords }: FoundKeys): void {
    const gone = instances.filter(instance => instanceKey(instance) !== this.#ownKey)
    const readable = recoveredParcels(withRecords, this.#logger)
    const readableKeys = new Set(readable.map(({ key }) => key))
    for (const { key, slots } of withRecords) if (!readableKeys.has(key)) this.#unreadable.set(key, slots)
    // Nothing is delivered of a key without records, so nothing else would ever remove it.
    for (const { key, records } of readable) if (records.length === 0) this.#remove(key)
    const parcels = readable.filter(({ records }) => records.length > 0)
    let open = parcels.length
    const settle = () => {
      if (open === 0 && gone.length > 0) this.#tasks.add(this.#declareGone(gone))
    }
    for (const { key, ...parcel } of parcels) {
      this.#keys.set(key, parcel.userId)
      const onDelivered = () => {
        this.#remove(key)
        open--
        settle()
      }
      this.#delivery.add({ onDelivered, ...parcel })
    }
    if (parcels.length > 0) {
      const records = parcels.reduce((sum, parcel) => sum + parcel.records.length, 0)
      this.#logger.warn(
        { interceptions: parcels.length, records, folder: this.#folder },
        'an earlier process left records in the outbox; they are handed over now',
      )
    }
    settle()
  }

  async #declareGone(instances: readonly string[]): Promise<void> {
    await declarePredecessorsGone(instances, {
      declareGone: async (...args) => this.#declare?.(...args),
      onDeclared: instance => this.#journal.remove(instanceKey(instance)),
      logger: this.#logger,
      limits: this.#limits,
      signal: this.#stopped.signal,
    })
  }

  /** Clears the files of what was handed over. Returns whether nothing of any user is left. */
  async #leaveEmpty(): Promise<boolean> {
    if (this.#keys.size > 0 || this.#unreadable.size > 0) return false
    try {
      // A rewrite removes damaged parts, and an operator may want to look at them.
      if ((await damagedIn(this.#folder)).length > 0) return false
      await this.#journal.rewrite()
      return (await this.#letters.count()) === 0
    } catch (error) {
      this.#logger.warn({ err: error, folder: this.#folder }, 'the outbox could not be cleared')
      return false
    }
  }

  /** Sends a dead letter again, once its records are in the journal. */
  async #takeOver({ name, record, interception, userId }: DeadLetter): Promise<void> {
    const key = letterKey(name)
    const { sized, text } = textOfRecords([...(interception ? [interception] : []), record], userId)
    this.#keys.set(key, userId)
    await this.#journal.put(key, 'finished', text)
    this.#delivery.add({ records: sized, userId, onDelivered: () => this.#remove(key) })
  }

  async #close(timeoutMs: number): Promise<OutboxRest> {
    const deadline = performance.now() + timeoutMs
    const timeLeft = () => Math.max(0, deadline - performance.now())
    // Records that are being written are sent afterwards; those that the disk does not take are sent meanwhile.
    await this.#puts.settled(timeoutMs)
    await this.#delivery.finish(Math.min(timeLeft(), this.#limits.outboxKeptFlushMs))
    this.#stopped.abort(new Error('the outbox is closed'))
    await Promise.all([this.#puts.settled(), this.#tasks.settled()])
    const { pending, unkept, linkEnd } = this.#delivery
    const rest = [...pending, ...unkept]
    if (rest.length === 0 && this.#open.size === 0) {
      this.#journal.remove(this.#ownKey)
      this.isEmpty = await this.#leaveEmpty()
    }
    await this.#journal.close()
    const isLost = (record: BatchRecord) => this.#unwritten.has(interceptionIdOf(record))
    const lost = rest.filter(isLost)
    const kept = pending.filter(record => !isLost(record))
    const cause = { linkEnd, timeoutMs }
    if (lost.length > 0) logRest(this.#logger, 'records were lost', { records: lost, ...cause })
    if (kept.length > 0) {
      const what = 'records wait in the outbox for the next start'
      logRest(this.#logger, what, { records: kept, folder: this.#folder, ...cause })
    }
    // Those that were rejected have a line each.
    return { left: rest.length, kept: rest.length - lost.length }
  }
}

/** Returns whether the raw text of an entry has the id of one of the users. */
function namesOneOf(slots: RecoveredKey['slots'], userIds: ReadonlySet<string>): boolean {
  return [...slots.values()].some(payload => [...userIds].some(userId => payload.includes(userId)))
}
