/** Where records wait until the control plane has them. */
import type { BatchRecord, RecordOutcome } from '../../../shared/contract/recorder.js'

/**
 * Records leave in the order in which they were put, are repeated until the control plane has them, and are never dropped: the bounds hold
 * at admission only. A record that the control plane refuses for good goes to the dead letters.
 */
export interface Outbox {
  /** Whether a new interception may begin. False: too much waits already. Those under way may still put their records. */
  admit(): boolean
  /** Resolves when the records are as durable as this outbox makes them. All of one call are kept, or none. */
  put(records: readonly BatchRecord[]): Promise<void>
  /** records that wait, those being sent included */
  readonly size: number
  /** age in milliseconds of the record that waits longest; 0 if none does */
  readonly oldestMs: number
  /** records refused for good since the start */
  readonly deadLetters: number
  /** Resolves when nothing waits. */
  flush(): Promise<void>
  /**
   * Sends what waits until `timeoutMs` have passed, then stops for good. Says how many records the control plane did not get: lost, unless
   * the outbox is durable. A second call gets the same promise.
   */
  close(options: { timeoutMs: number }): Promise<{ left: number }>
}

/**
 * Hands records to the control plane: one outcome per record, in order.
 * Rejects if it is not known what became of them; the same records may be sent again.
 */
export type SendRecords = (records: readonly BatchRecord[], signal: AbortSignal) => Promise<RecordOutcome[]>

/** Takes what the control plane refused for good. */
export type DeadLetterSink = (record: BatchRecord, rejection: Exclude<RecordOutcome, { ok: true }>) => void
