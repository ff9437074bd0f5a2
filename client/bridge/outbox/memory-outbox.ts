import { type BridgeLimits, bridgeLimits, recordLimits } from '../../../shared/contract/limits.js'
import { interceptionIdOf } from '../../../shared/contract/record-kinds.js'
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import { isClosedForGood } from '../wire/rejection.js'
import type { DeadLetterSink, Outbox, SendRecords } from './outbox.js'

/** Options of {@link createMemoryOutbox}. */
export interface MemoryOutboxOptions {
  /** hands records to the control plane */
  send: SendRecords
  logger: Logger
  limits?: Partial<BridgeLimits>
  /** takes the records that the control plane rejected for good; the default drops them after logging */
  deadLetter?: DeadLetterSink
}

/** Makes an {@link Outbox} in memory: pending records are lost with the process. */
export function createMemoryOutbox(options: MemoryOutboxOptions): Outbox {
  return new MemoryOutbox(options)
}

interface Entry {
  record: BatchRecord
  bytes: number
  putAt: number
}

class MemoryOutbox implements Outbox {
  deadLetters = 0
  readonly #send: SendRecords
  readonly #logger: Logger
  readonly #limits: BridgeLimits
  readonly #deadLetter: DeadLetterSink | undefined
  readonly #stopped = new AbortController()
  #entries: Entry[] = []
  #bytes = 0
  #pumping = false
  #failures = 0
  /** halved when a batch fails as a whole, so that one record cannot block the others */
  #batchRecords: number = recordLimits.maxBatchRecords
  /** set between a failure and the next attempt; aborting it ends the pause */
  #pause: AbortController | undefined
  #idle: (() => void)[] = []
  #closed: Promise<{ left: number }> | undefined
  /**
   * the error of a link that is closed for good: nothing is sent any more, and records wait for `close()` to count them
   */
  #linkEnd: Error | undefined

  constructor({ send, logger, limits, deadLetter }: MemoryOutboxOptions) {
    this.#send = send
    this.#logger = logger
    this.#limits = { ...bridgeLimits, ...limits }
    this.#deadLetter = deadLetter
  }

  get size(): number {
    return this.#entries.length
  }

  get oldestMs(): number {
    // The first entry need not be the oldest: a record that fails by itself is moved back.
    let oldest = Number.POSITIVE_INFINITY
    for (const { putAt } of this.#entries) oldest = Math.min(oldest, putAt)
    return Math.max(0, performance.now() - oldest)
  }

  admit(): boolean {
    if (this.#closed) return false
    return this.#entries.length < this.#limits.outboxMaxRecords && this.#bytes < this.#limits.outboxMaxBytes
  }

  async put(records: readonly BatchRecord[]): Promise<void> {
    if (this.#stopped.signal.aborted) throw new Error(`the outbox is closed, ${records.length} records were not taken`)
    const putAt = performance.now()
    for (const record of records) {
      const bytes = Buffer.byteLength(JSON.stringify(record))
      this.#entries.push({ record, bytes, putAt })
      this.#bytes += bytes
    }
    if (!this.#pumping && !this.#linkEnd && this.#entries.length > 0) void this.#pump()
  }

  flush(): Promise<void> {
    if (this.#entries.length === 0 || this.#linkEnd) return Promise.resolve()
    this.#pause?.abort()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  close({ timeoutMs }: { timeoutMs: number }): Promise<{ left: number }> {
    this.#closed ??= this.#close(timeoutMs)
    return this.#closed
  }

  async #close(timeoutMs: number): Promise<{ left: number }> {
    const timer = setTimeout(() => {
      this.#stopped.abort(new Error('the outbox is closed'))
      this.#pause?.abort()
      this.#becomeIdle()
    }, timeoutMs)
    await this.flush()
    clearTimeout(timer)
    this.#stopped.abort(new Error('the outbox is closed'))
    const left = this.#entries.length
    if (left > 0) {
      const kinds: Record<string, number> = {}
      for (const { record } of this.#entries) kinds[record.kind] = (kinds[record.kind] ?? 0) + 1
      const cause = this.#linkEnd
        ? 'the link to the control plane is closed for good'
        : 'the control plane did not take them in time'
      this.#logger.error({ left, kinds, timeoutMs, reason: this.#linkEnd?.message }, `records were lost: ${cause}`)
    }
    return { left }
  }

  /** Runs while records are pending. Only one batch is under way at a time, which keeps the order. Never rejects. */
  async #pump(): Promise<void> {
    this.#pumping = true
    while (this.#entries.length > 0 && !this.#linkEnd && !this.#stopped.signal.aborted) {
      const batch = this.#nextBatch()
      try {
        const outcomes = await this.#send(
          batch.map(entry => entry.record),
          this.#stopped.signal,
        )
        this.#failures = 0
        this.#batchRecords = Math.min(recordLimits.maxBatchRecords, this.#batchRecords * 2)
        this.#drop(batch)
        for (const [index, outcome] of outcomes.entries()) {
          const record = batch[index]?.record
          if (record && !outcome.ok) this.#rejected(record, outcome)
        }
      } catch (error) {
        if (error instanceof Error && isClosedForGood(error)) this.#endLink(error)
        else if (!this.#stopped.signal.aborted) await this.#failed(batch, error)
      }
    }
    this.#pumping = false
    this.#becomeIdle()
  }

  #endLink(error: Error): void {
    this.#linkEnd = error
    const fields = { code: errorCodeOf(error), reason: error.message, waiting: this.size }
    this.#logger.error(
      fields,
      'records cannot be handed over any more: the link to the control plane is closed for good',
    )
  }

  #nextBatch(): Entry[] {
    const batch: Entry[] = []
    let bytes = 0
    for (const entry of this.#entries) {
      bytes += entry.bytes
      if (batch.length > 0 && (bytes > recordLimits.maxBatchBytes || batch.length >= this.#batchRecords)) break
      batch.push(entry)
    }
    return batch
  }

  #drop(batch: Entry[]): void {
    this.#entries.splice(0, batch.length)
    for (const { bytes } of batch) this.#bytes -= bytes
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
    this.#logger.warn(fields, 'records could not be handed to the control plane; they are sent again')
    const [first] = batch
    if (first && batch.length === 1) this.#moveBack(interceptionIdOf(first.record))
    this.#pause = new AbortController()
    await abortablePause(delayMs, this.#pause.signal)
    this.#pause = undefined
  }

  /**
   * Moves an interception with a failing record to the end of the queue, so that others pass. The order of its own
   * records stays.
   */
  #moveBack(interceptionId: string): void {
    const others = this.#entries.filter(entry => interceptionIdOf(entry.record) !== interceptionId)
    const own = this.#entries.filter(entry => interceptionIdOf(entry.record) === interceptionId)
    this.#entries = [...others, ...own]
  }

  #rejected(record: BatchRecord, rejection: Parameters<DeadLetterSink>[1]): void {
    this.deadLetters++
    const { code, message } = rejection
    const fields = { kind: record.kind, id: record.id, interceptionId: interceptionIdOf(record), code, reason: message }
    this.#logger.error(fields, 'the control plane rejected a record for good')
    try {
      this.#deadLetter?.(record, rejection)
    } catch (error) {
      this.#logger.error({ ...fields, err: error }, 'a dead letter could not be kept')
    }
  }

  #backoffMs(): number {
    const { outboxRetryMinMs, outboxRetryMaxMs } = this.#limits
    const longest = Math.min(outboxRetryMaxMs, outboxRetryMinMs * 2 ** Math.min(this.#failures - 1, 30))
    return longest * (0.5 + Math.random() / 2)
  }

  #becomeIdle(): void {
    if (this.#entries.length > 0 && !this.#linkEnd && !this.#stopped.signal.aborted) return
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}
