import { randomUUID } from 'node:crypto'
import { type BridgeLimits, bridgeLimits } from '../../../shared/contract/limits.js'
import { interceptionIdOf } from '../../../shared/contract/record-kinds.js'
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import type { Logger } from '../../../shared/values/log.js'
import { Delivery } from './delivery.js'
import { OpenInterceptions, userOf } from './open-interceptions.js'
import type { DeadLetterSink, Outbox, OutboxRest, SendRecords } from './outbox.js'
import type { RejectedRecord } from './parcel.js'
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
  readonly id: string = randomUUID()
  readonly isDurable = false
  readonly #logger: Logger
  readonly #limits: BridgeLimits
  readonly #deadLetter: DeadLetterSink | undefined
  readonly #delivery: Delivery
  readonly #open = new OpenInterceptions()
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

  async begin(
    interception: BatchRecord<'interception'>,
    _ifLost: readonly BatchRecord[],
    recorded?: Promise<unknown>,
  ): Promise<void> {
    if (!this.#open.begin(interception, recorded)) throw new Error('the user was erased')
  }

  note(): void {}

  forget(interceptionId: string): void {
    this.#open.end(interceptionId)
  }

  async put(records: readonly BatchRecord[]): Promise<void> {
    if (this.#delivery.isStopped) throw new Error(`the outbox is closed, ${records.length} records were not taken`)
    const [first] = records
    if (!first) return
    const interception = this.#open.end(interceptionIdOf(first))
    const userId = userOf(records, interception ?? undefined)
    if (interception === null || (userId !== undefined && this.hasErased(userId))) return
    const sized = records.map(record => ({ record, bytes: Buffer.byteLength(JSON.stringify(record)) }))
    this.#delivery.add({ records: sized, interception, userId })
  }

  async erase(userIds: ReadonlySet<string>): Promise<ReadonlyMap<string, number>> {
    const begun = this.#open.erase(userIds)
    const [counts] = await Promise.all([this.#delivery.erase(userIds), begun])
    return counts
  }

  hasErased(userId: string): boolean {
    return this.#open.hasErased(userId)
  }

  get isEmpty(): boolean {
    return this.#delivery.size === 0 && this.#open.size === 0
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
