/** Keeps records until the control plane has them. */
import type { BatchRecord, RecordOutcome } from '../../../shared/contract/recorder.js'

/**
 * Sends records in the order in which they were put, repeats them until the control plane has them, and never drops
 * one: the bounds hold at admission only. A record that the control plane rejects for good goes to the dead letters.
 *
 * The life of an interception in an outbox:
 * ```
 * admit() ──▶ begin() ──▶ note()* ──▶ put() ──▶ the control plane has all records
 *                │
 *                └──▶ forget(): the interception was not recorded
 * ```
 * An outbox on disk hands over what `begin()` and the last `note()` gave if its process dies before `put()`.
 */
export interface Outbox {
  /** a UUID that stays with the outbox: the same in every process that uses it */
  readonly id: string
  /** whether the outbox outlives its process */
  readonly isDurable: boolean
  /**
   * Returns whether a new interception may begin; false if too many records are pending. Interceptions under way may
   * still put theirs.
   */
  admit(): boolean
  /**
   * Takes an interception that begins. Resolves when the records are as durable as this outbox makes them.
   * @param ifLost the records of the interception if the process died now: the prompt, if any, and the end
   * @param recorded settles with the control plane's response to this interception; until then, an erasure of the user
   *   waits
   * @throws Error if the user was erased, or if the disk does not take the records
   */
  begin(
    interception: BatchRecord<'interception'>,
    ifLost: readonly BatchRecord[],
    recorded?: Promise<unknown>,
  ): Promise<void>
  /**
   * Replaces the last note.
   * @param ifLost the further records of the interception if the process died now: tokens so far, and the end, in place
   *   of the end that `begin()` gave
   */
  note(interceptionId: string, ifLost: readonly BatchRecord[]): void
  /** Takes back `begin()`: the interception was not recorded, and never will be. */
  forget(interceptionId: string): void
  /**
   * Adds records of one interception. Resolves when the records are as durable as this outbox makes them, or when the
   * control plane has them. All records of one call are kept, or none.
   */
  put(records: readonly BatchRecord[]): Promise<void>
  /**
   * Removes everything of users: pending records, dead letters, and what is written of interceptions under way, whose
   * records are dropped when they come. When the promise resolves, no file of the outbox has a byte of their records,
   * nothing of them is handed over any more, and the control plane has responded to what they began. Dead letters that
   * a caller of `createMemoryOutbox` keeps are not reached.
   * @returns user → number of pending records and dead letters
   * @throws the error of the disk; a repeat goes on
   */
  erase(userIds: ReadonlySet<string>): Promise<ReadonlyMap<string, number>>
  /** Returns whether a user was erased since the start: no interception of this user may begin. */
  hasErased(userId: string): boolean
  /** whether nothing of any user is left, after `close()` */
  readonly isEmpty: boolean
  /** number of pending records, the batch being sent included */
  readonly size: number
  /** age of the oldest pending record in milliseconds; 0 without one */
  readonly oldestMs: number
  /** number of records rejected for good since the start */
  readonly deadLetters: number
  /** Resolves when no record is pending, or when the link to the control plane is closed for good. */
  flush(): Promise<void>
  /**
   * Sends pending records until `timeoutMs` have passed or the link is closed for good, then stops for good. A second
   * call gets the same promise.
   */
  close(options: { timeoutMs: number }): Promise<OutboxRest>
}

/** The records that an outbox did not hand over. */
export interface OutboxRest {
  /** number of records that the control plane did not get */
  left: number
  /** number of these that the next process hands over; the others are lost */
  kept: number
}

/**
 * Hands records to the control plane and resolves with one outcome per record, in order. Rejects if their outcome is
 * unknown; the same records may be sent again.
 */
export type SendRecords = (records: readonly BatchRecord[], signal: AbortSignal) => Promise<RecordOutcome[]>

/** The rejection of a record for good. */
export type RecordRejection = Exclude<RecordOutcome, { ok: true }>

/** Takes a record that the control plane rejected for good, and the rejection. */
export type DeadLetterSink = (record: BatchRecord, rejection: RecordRejection) => void
