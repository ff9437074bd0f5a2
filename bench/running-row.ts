import { isDeepStrictEqual } from 'node:util'
import type { Effort } from './effort.js'
import { median } from './median.js'
import type { OpenRow, Row } from './rows/row.js'
import { checksumOf, records, Service, type TokenUsage } from './rows/service.js'

/** Figures of all rounds of one row; a row without subscriptions has no items. */
export interface Figures {
  /** µs of one call, one after another: the median */
  seqP50Us?: number
  /** with 64 in flight */
  callsPerSecond64?: number
  /** with 1,024 in flight */
  callsPerSecond1024?: number
  /** of one subscription */
  itemsPerSecond?: number
}
type Figure = keyof Figures

/** Runs an open row, and compares sent with received values. */
export class RunningRow {
  /** of all rounds, in their order */
  readonly samples = new Map<Figure, number[]>()
  readonly name: string
  readonly #row: OpenRow
  readonly #service: Service
  readonly #effort: Effort
  readonly #clock: () => number
  readonly #checksums = records.map(checksumOf)
  #next = 0
  #sent = 0

  private constructor(name: string, row: OpenRow, service: Service, effort: Effort, clock: () => number) {
    this.name = name
    this.#row = row
    this.#service = service
    this.#effort = effort
    this.#clock = clock
  }

  static async open(row: Row, effort: Effort, clock: () => number): Promise<RunningRow> {
    const service = new Service()
    return new RunningRow(row.name, await row.open(service), service, effort, clock)
  }

  close(): Promise<unknown> {
    return this.#row.close()
  }

  /** Adds one sample of a figure, unless the row has no such figure. */
  async measure(figure: Figure): Promise<void> {
    const { measureMs, turns } = this.#effort
    const samples = this.samples.get(figure) ?? []
    if (figure === 'seqP50Us') samples.push(await this.#sequentialUs(measureMs))
    else if (figure === 'itemsPerSecond' && !this.#row.subscribe) return
    else {
      const inFlight = figure === 'callsPerSecond64' ? 64 : 1_024
      const count = Math.max(turns * inFlight, Math.round(((samples.at(-1) ?? 0) * measureMs) / 1_000))
      const start = this.#clock()
      if (figure === 'itemsPerSecond') await this.#stream(count)
      else await this.#callAll(count, inFlight)
      samples.push((count / (this.#clock() - start)) * 1_000)
    }
    this.samples.set(figure, samples)
  }

  /**
   * Compares the sum of all records that arrived, and whole records after both ways.
   * @throws Error if one is lost, repeated or changed
   */
  async verify(): Promise<void> {
    this.#check(this.#sent === this.#service.checksum, 'the handler did not receive the records that were sent')
    for (const record of records.slice(0, 32)) {
      this.#check(isDeepStrictEqual(await this.#row.echo(record), record), 'a record came back changed')
    }
  }

  async #sequentialUs(measureMs: number): Promise<number> {
    const times: number[] = []
    const begin = performance.now()
    for (let now = begin; now - begin < measureMs || times.length < 32; ) {
      const start = performance.now()
      this.#accept(await this.#send())
      now = performance.now()
      times.push(now - start)
    }
    return median(times) * 1_000
  }

  async #callAll(count: number, inFlight: number): Promise<void> {
    let left = count
    const worker = async (): Promise<void> => {
      while (left-- > 0) this.#accept(await this.#send())
    }
    await Promise.all(Array.from({ length: inFlight }, worker))
  }

  /** One async function instead of these two would cost every row some microtasks more. */
  #send(): Promise<unknown> {
    const index = this.#next++ & (records.length - 1)
    this.#sent = (this.#sent + (this.#checksums[index] ?? 0)) | 0
    return this.#row.call(records[index] as TokenUsage) // the index is within the array
  }

  #accept(response: unknown): void {
    if (!isEmptyObject(response)) throw new Error(`${this.name}: a response is not {}`)
  }

  async #stream(count: number): Promise<void> {
    let items = 0
    let inOrder = true
    await this.#row.subscribe?.(count, ({ id, name }) => {
      if (id !== items++ || name !== 'an item') inOrder = false
    })
    this.#check(inOrder && items === count, `${items} of ${count} items came, or out of order`)
  }

  #check(holds: boolean, otherwise: string): void {
    if (!holds) throw new Error(`${this.name}: ${otherwise}`)
  }
}

function isEmptyObject(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  for (const _key in value) return false
  return true
}
