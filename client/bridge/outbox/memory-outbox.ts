import { type BridgeLimits, bridgeLimits } from '../../../shared/contract/limits.js'
import { interceptionIdOf } from '../../../shared/contract/record-kinds.js'
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import type { Logger } from '../../../shared/values/log.js'
import { Delivery, type RejectedRecord } from './delivery.js'
import type { DeadLetterSink, Outbox, OutboxRest, SendRecords } from './outbox.js'
import { logRest } from './rest.js'

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

class MemoryOutbox implements Outbox {
  readonly #logger: Logger
  readonly #limits: BridgeLimits
  readonly #deadLetter: DeadLetterSink | undefined
  readonly #delivery: Delivery
  readonly #interceptions = new Map<string, BatchRecord<'interception'>>()
  #closed: Promise<OutboxRest> | undefined

  constructor({ send, logger, limits, deadLetter }: MemoryOutboxOptions) {
    this.#logger = logger
    this.#limits = { ...bridgeLimits, ...limits }
    this.#deadLetter = deadLetter
    const keepRejected = async (rejected: RejectedRecord) => {
      this.#drop(rejected)
      return true
    }
    this.#delivery = new Delivery({ send, logger, limits: this.#limits, keepRejected })
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

  async begin(interception: BatchRecord<'interception'>): Promise<void> {
    this.#interceptions.set(interception.id, interception)
  }

  note(): void {}

  forget(interceptionId: string): void {
    this.#interceptions.delete(interceptionId)
  }

  async put(records: readonly BatchRecord[]): Promise<void> {
    if (this.#delivery.isStopped) throw new Error(`the outbox is closed, ${records.length} records were not taken`)
    const [first] = records
    if (!first) return
    const id = interceptionIdOf(first)
    const interception = this.#interceptions.get(id)
    this.#interceptions.delete(id)
    const sized = records.map(record => ({ record, bytes: Buffer.byteLength(JSON.stringify(record)) }))
    this.#delivery.add({ records: sized, interception })
  }

  flush(): Promise<void> {
    return this.#delivery.flush()
  }

  close({ timeoutMs }: { timeoutMs: number }): Promise<OutboxRest> {
    this.#closed ??= this.#close(timeoutMs)
    return this.#closed
  }

  async #close(timeoutMs: number): Promise<OutboxRest> {
    await this.#delivery.finish(timeoutMs)
    const { pending, linkEnd } = this.#delivery
    if (pending.length > 0) logRest(this.#logger, 'records were lost', { records: pending, linkEnd, timeoutMs })
    return { left: pending.length, kept: 0 }
  }

  #drop({ record, rejection }: RejectedRecord): void {
    try {
      this.#deadLetter?.(record, rejection)
    } catch (error) {
      this.#logger.error({ err: error, kind: record.kind, id: record.id }, 'a dead letter could not be kept')
    }
  }
}
