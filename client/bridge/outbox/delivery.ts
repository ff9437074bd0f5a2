import { type BridgeLimits, recordLimits } from '../../../shared/contract/limits.js'
import { interceptionIdOf } from '../../../shared/contract/record-kinds.js'
import type { BatchRecord, RecordOutcome } from '../../../shared/contract/recorder.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import { isClosedForGood } from '../wire/rejection.js'
import { DeliveryQueue, type Entry } from './delivery-queue.js'
import { interceptionIn } from './open-interceptions.js'
import type { RecordRejection, SendRecords } from './outbox.js'
import type { Parcel, RejectedRecord } from './parcel.js'

/** Options of {@link Delivery}. */
export interface DeliveryOptions {
  /** hands records to the control plane */
  send: SendRecords
  logger: Logger
  limits: Pick<BridgeLimits, 'outboxRetryMinMs' | 'outboxRetryMaxMs'>
  /** Takes a record that the control plane rejected for good. Never rejects; false: the record could not be kept. */
  keepRejected: (rejected: RejectedRecord) => Promise<boolean>
}

/**
 * Hands records to the control plane: in batches, in order within an interception, at any number of attempts, until the
 * outcome of each is known.
 */
export class Delivery {
  /** number of records rejected for good */
  rejected = 0
  readonly #options: DeliveryOptions
  readonly #stopped = new AbortController()
  readonly #queue = new DeliveryQueue()
  /** rejected records that could not be kept */
  #unkept: Entry[] = []
  #pumping = false
  #settling: Promise<void> | undefined
  /** the records of the batch under way whose outcome was not taken yet, and the attempt to send it */
  readonly #underWay = new Set<Entry>()
  #attempt: Promise<unknown> = Promise.resolve()
  #failures = 0
  /** halved when a batch fails as a whole, so that one record cannot block the others */
  #batchRecords: number = recordLimits.maxBatchRecords
  /** set between a failure and the next attempt; aborting it ends the pause */
  #pause: AbortController | undefined
  #idle: (() => void)[] = []
  #linkEnd: Error | undefined

  constructor(options: DeliveryOptions) {
    this.#options = options
  }

  /** number of records without an outcome */
  get size(): number {
    return this.#queue.size
  }

  /** bytes of these records */
  get bytes(): number {
    return this.#queue.bytes
  }

  /** the records without an outcome, in the order of sending */
  get pending(): BatchRecord[] {
    return this.#queue.records
  }

  /** the records that were rejected for good and could not be kept */
  get unkept(): BatchRecord[] {
    return this.#unkept.map(({ record }) => record)
  }

  /** whether `stop()` was called */
  get isStopped(): boolean {
    return this.#stopped.signal.aborted
  }

  /** age of the oldest record in milliseconds; 0 without one */
  get oldestMs(): number {
    return this.#queue.oldestMs
  }

  /**
   * the error of a link that is closed for good; nothing is sent any more then, and added records wait for the next
   * process, or are counted as lost
   */
  get linkEnd(): Error | undefined {
    return this.#linkEnd
  }

  /** Adds records behind the others. After `stop()` they are only counted. */
  add(parcel: Parcel): void {
    this.#queue.add(parcel)
    if (!this.#pumping && !this.#isOver && this.#queue.size > 0) void this.#pump()
  }

  /** Resolves when every record has an outcome, or when no more can be sent. */
  flush(): Promise<void> {
    if (!this.#pumping || this.#isOver) return Promise.resolve()
    this.#pause?.abort()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  /** Sends for `timeoutMs` at most, then stops. Resolves when every record has an outcome, or when it has stopped. */
  async finish(timeoutMs: number): Promise<void> {
    const timer = setTimeout(() => this.stop(), timeoutMs)
    await this.flush()
    clearTimeout(timer)
    this.stop()
    await this.#settling
  }

  /** Ends the call under way; nothing is sent any more. */
  stop(): void {
    this.#stopped.abort(new Error('the outbox is closed'))
    this.#pause?.abort()
    this.#becomeIdle()
  }

  /**
   * Drops the records of users. A batch under way is waited for, as the control plane may be storing it; the outcome of
   * such records changes nothing then: none is sent again, and none is kept.
   * @returns user → number of records
   */
  async erase(userIds: ReadonlySet<string>): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    // While outcomes are taken, the records are among the entries no more.
    for (const { parcel } of new Set([...this.#queue, ...this.#underWay, ...this.#unkept])) {
      const { userId } = parcel.parcel
      if (userId === undefined || !userIds.has(userId)) continue
      parcel.isErased = true
      counts.set(userId, (counts.get(userId) ?? 0) + 1)
    }
    this.#dropErased()
    if ([...this.#underWay].some(({ parcel }) => parcel.isErased)) await this.#attempt
    return counts
  }

  /** Drops erased records, but for those of the batch under way, which stands at the beginning. */
  #dropErased(): void {
    const dropped = [
      ...this.#queue.take(entry => entry.parcel.isErased && !this.#underWay.has(entry)),
      ...this.#unkept.filter(({ parcel }) => parcel.isErased),
    ]
    this.#unkept = this.#unkept.filter(({ parcel }) => !parcel.isErased)
    for (const entry of dropped) this.#settle(entry)
  }

  get #isOver(): boolean {
    return this.#linkEnd !== undefined || this.isStopped
  }

  /** Runs while records are pending. Only one batch is under way at a time, which keeps the order. Never rejects. */
  async #pump(): Promise<void> {
    this.#pumping = true
    while (this.#queue.size > 0 && !this.#isOver) {
      const batch = this.#queue.firstBatch(this.#batchRecords)
      for (const entry of batch) this.#underWay.add(entry)
      const attempt = this.#send(batch)
      this.#attempt = attempt
      const error = await attempt
      if (error instanceof Error && isClosedForGood(error)) this.#endLink(error)
      else if (error !== undefined && !this.#stopped.signal.aborted) await this.#failed(batch, error)
    }
    this.#pumping = false
    this.#becomeIdle()
  }

  /** Sends a batch and takes the outcomes. Resolves with the error of a batch whose outcome is unknown. */
  async #send(batch: readonly Entry[]): Promise<unknown> {
    try {
      const outcomes = await this.#options.send(
        batch.map(entry => entry.record),
        this.#stopped.signal,
      )
      this.#failures = 0
      this.#batchRecords = Math.min(recordLimits.maxBatchRecords, this.#batchRecords * 2)
      this.#queue.takeFirst(batch)
      this.#settling = this.#settleAll(batch, outcomes)
      await this.#settling
      return undefined
    } catch (error) {
      return error ?? new Error('a batch was rejected without a cause')
    } finally {
      this.#underWay.clear()
      this.#dropErased()
    }
  }

  /** Takes the outcomes of a batch. Resolves when its rejected records are kept. */
  async #settleAll(batch: readonly Entry[], outcomes: readonly RecordOutcome[]): Promise<void> {
    const unknown: Entry[] = []
    for (const [index, entry] of batch.entries()) {
      const outcome = outcomes[index]
      if (outcome?.ok === false && outcome.code === 'NOT_FOUND' && !entry.parcel.isIntroduced) unknown.push(entry)
      else {
        const isOutdated = outcome?.ok === false && outcome.code === 'CONFLICT' && entry.parcel.parcel.isProvisional
        if (!outcome || outcome.ok || isOutdated || entry.parcel.isErased) this.#settle(entry)
        else await this.#reject(entry, outcome)
        this.#underWay.delete(entry)
      }
    }
    // Those that were erased while dead letters were written are dropped when the attempt ends.
    this.#introduce(unknown)
  }

  #endLink(error: Error): void {
    this.#linkEnd = error
    const fields = { code: errorCodeOf(error), reason: error.message, waiting: this.size }
    this.#options.logger.error(
      fields,
      'records cannot be handed over any more: the link to the control plane is closed for good',
    )
  }

  /**
   * Sends records again whose interception the control plane does not know, behind their interception: a database that
   * was restored, or that lost its last commits, may have forgotten it.
   */
  #introduce(entries: readonly Entry[]): void {
    const again: Entry[] = []
    for (const entry of entries) {
      const { parcel } = entry
      if (!parcel.isIntroduced && parcel.parcel.interception) {
        parcel.isIntroduced = true
        parcel.open++
        const record = parcel.parcel.interception
        again.push({ record, bytes: Buffer.byteLength(JSON.stringify(record)), parcel })
      }
      again.push(entry)
    }
    this.#queue.addBefore(again)
  }

  #settle({ parcel }: Entry): void {
    if (--parcel.open === 0) parcel.parcel.onDelivered?.()
  }

  async #reject(entry: Entry, rejection: RecordRejection): Promise<void> {
    this.rejected++
    const { record } = entry
    const { code, message } = rejection
    this.#options.logger.error(
      { kind: record.kind, id: record.id, interceptionId: interceptionIdOf(record), code, reason: message },
      'the control plane rejected a record for good',
    )
    const { records, interception = interceptionIn(records.map(each => each.record)), userId } = entry.parcel.parcel
    const isKept = await this.#options.keepRejected({ record, interception, userId, rejection })
    if (isKept || entry.parcel.isErased) this.#settle(entry)
    else this.#unkept.push(entry)
  }

  async #failed(batch: Entry[], error: unknown): Promise<void> {
    this.#failures++
    this.#batchRecords = Math.max(1, Math.floor(batch.length / 2))
    const delayMs = this.#backoffMs()
    const fields = {
      err: error,
      code: errorCodeOf(error),
      records: batch.length,
      waiting: this.size,
      attempt: this.#failures,
      delayMs,
    }
    this.#options.logger.warn(fields, 'records could not be handed to the control plane; they are sent again')
    const [first] = batch
    if (first && batch.length === 1) this.#queue.moveBack(interceptionIdOf(first.record))
    this.#pause = new AbortController()
    await abortablePause(delayMs, this.#pause.signal)
    this.#pause = undefined
  }

  #backoffMs(): number {
    const { outboxRetryMinMs, outboxRetryMaxMs } = this.#options.limits
    const longest = Math.min(outboxRetryMaxMs, outboxRetryMinMs * 2 ** Math.min(this.#failures - 1, 30))
    return longest * (0.5 + Math.random() / 2)
  }

  #becomeIdle(): void {
    if (this.#pumping && !this.#isOver) return
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}
