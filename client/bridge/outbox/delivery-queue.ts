import { recordLimits } from '../../../shared/contract/limits.js'
import { interceptionIdOf } from '../../../shared/contract/record-kinds.js'
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import type { Parcel, SizedRecord } from './parcel.js'

/** A record of a parcel. */
export interface Entry extends SizedRecord {
  readonly parcel: OpenParcel
}

/** A parcel until the outcome of all its records is known. */
export interface OpenParcel {
  readonly parcel: Parcel
  readonly addedAt: number
  /** records without an outcome, and rejected ones that are not kept */
  open: number
  /** whether the interception was sent again */
  isIntroduced: boolean
  /** the outcome of its records changes nothing any more */
  isErased: boolean
}

/** The records without an outcome, in the order of sending. */
export class DeliveryQueue {
  #entries: Entry[] = []
  #bytes = 0

  /** number of records */
  get size(): number {
    return this.#entries.length
  }

  /** bytes of the records */
  get bytes(): number {
    return this.#bytes
  }

  get records(): BatchRecord[] {
    return this.#entries.map(({ record }) => record)
  }

  /** age of the oldest record in milliseconds; 0 without one */
  get oldestMs(): number {
    // The first entry need not be the oldest: a record that fails by itself is moved back.
    let oldest = Number.POSITIVE_INFINITY
    for (const { parcel } of this.#entries) oldest = Math.min(oldest, parcel.addedAt)
    return Math.max(0, performance.now() - oldest)
  }

  [Symbol.iterator](): Iterator<Entry> {
    return this.#entries.values()
  }

  /** Adds the records of a parcel behind the others. */
  add(parcel: Parcel): void {
    const open: OpenParcel = {
      parcel,
      addedAt: performance.now(),
      open: parcel.records.length,
      isIntroduced: parcel.interception === undefined,
      isErased: false,
    }
    for (const sized of parcel.records) {
      this.#entries.push({ parcel: open, ...sized })
      this.#bytes += sized.bytes
    }
  }

  /** Adds records before the others. */
  addBefore(entries: readonly Entry[]): void {
    this.#entries = [...entries, ...this.#entries]
    for (const { bytes } of entries) this.#bytes += bytes
  }

  /** Returns the first records, as many as one batch may have. */
  firstBatch(maxRecords: number): Entry[] {
    const batch: Entry[] = []
    let bytes = 0
    for (const entry of this.#entries) {
      bytes += entry.bytes
      if (batch.length > 0 && (bytes > recordLimits.maxBatchBytes || batch.length >= maxRecords)) break
      batch.push(entry)
    }
    return batch
  }

  /** Takes out the first records, which are those of a batch. */
  takeFirst(batch: readonly Entry[]): void {
    this.#entries.splice(0, batch.length)
    for (const { bytes } of batch) this.#bytes -= bytes
  }

  /** Takes out the records for which a function says so, and returns them. */
  take(isTaken: (entry: Entry) => boolean): Entry[] {
    const taken = new Set(this.#entries.filter(isTaken))
    if (taken.size > 0) this.#entries = this.#entries.filter(entry => !taken.has(entry))
    for (const { bytes } of taken) this.#bytes -= bytes
    return [...taken]
  }

  /** Moves an interception to the end, so that others pass. The order of its own records stays. */
  moveBack(interceptionId: string): void {
    const others = this.#entries.filter(entry => interceptionIdOf(entry.record) !== interceptionId)
    const own = this.#entries.filter(entry => interceptionIdOf(entry.record) === interceptionId)
    this.#entries = [...others, ...own]
  }
}
