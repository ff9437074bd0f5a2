/** Keeps records until the control plane has them. */
import type { BatchRecord, RecordOutcome } from '../../../shared/contract/recorder.js'

/**
 * Sends records in the order in which they were put, repeats them until the control plane has them, and never drops
 * one: the bounds hold at admission only. A record that the control plane rejects for good goes to the dead letters.
 */
export interface Outbox {
  /**
   * Returns whether a new interception may begin; false if too many records are pending. Interceptions under way may
   * still put theirs.
   */
  admit(): boolean
  /**
   * Adds records. Resolves when the records are as durable as this outbox makes them. All records of one call are kept,
   * or none.
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
   * Sends pending records until `timeoutMs` have passed or the link is closed for good, then stops for good. Resolves
   * with the number of records `left` that the control plane did not get, which are lost unless the outbox is durable.
   * A second call gets the same promise.
   */
  close(options: { timeoutMs: number }): Promise<{ left: number }>
}

/**
 * Hands records to the control plane and resolves with one outcome per record, in order. Rejects if their outcome is
 * unknown; the same records may be sent again.
 */
export type SendRecords = (records: readonly BatchRecord[], signal: AbortSignal) => Promise<RecordOutcome[]>

/** Takes a record that the control plane rejected for good, and the rejection. */
export type DeadLetterSink = (record: BatchRecord, rejection: Exclude<RecordOutcome, { ok: true }>) => void
