import type { BatchRecord } from '../../../shared/contract/recorder.js'
import type { RecordRejection } from './outbox.js'

/** A record and its size. */
export interface SizedRecord {
  readonly record: BatchRecord
  /** bytes of its JSON text */
  readonly bytes: number
}

/** Records that are delivered in their order. */
export interface Parcel {
  readonly records: readonly SizedRecord[]
  /** the interception of the records, sent before them if the control plane does not know it */
  readonly interception?: BatchRecord<'interception'> | undefined
  /** the user of the records, where it is known */
  readonly userId?: string | undefined
  /** whether the control plane may have the final records already: then it keeps those, and nothing is wrong */
  readonly isProvisional?: boolean
  /**
   * Called once, when the control plane has taken or rejected every record and each rejected one is kept, or when the
   * records were erased.
   */
  onDelivered?(): void
}

/** A record that the control plane rejected for good. */
export interface RejectedRecord {
  record: BatchRecord
  /** the interception to which the record belongs, where it is known */
  interception: BatchRecord<'interception'> | undefined
  /** the user of the record, where it is known */
  userId: string | undefined
  rejection: RecordRejection
}
