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
  /**
   * Returns whether a new interception may begin; false if too many records are pending. Interceptions under way may
   * still put theirs.
   */
  admit(): boolean
  /**
   * Takes an interception that begins. Resolves when the records are as durable as this outbox makes them.
   * @param ifLost the records of the interception if the process died now: the prompt, if any, and the end
   */
  begin(interception: BatchRecord<'interception'>, ifLost: readonly BatchRecord[]): Promise<void>
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
