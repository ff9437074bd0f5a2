import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { textOf } from '../../providers/reading.js'
import type { HiddenNames } from '../hidden-names.js'
import { sumOfUsage } from '../usage-sums.js'
import type { ResponsesRound } from './items.js'

/** The response of a client of Responses, over all its rounds. */
export class ResponsesResponse {
  readonly names: HiddenNames
  /** the rounds that have ended */
  readonly rounds: ResponsesRound[] = []
  /** the number of the client's next event; undefined if the provider's events have none */
  #nextNumber: number | undefined
  /** whether the client's stream differs from the provider's */
  #isChanged = false
  /** whether the client can refer to a stored response later */
  readonly isStored: boolean
  /** the provider's id of the newest round */
  lastId: string | undefined
  #firstId: JsonValue | undefined
  #usage: JsonObject | undefined

  constructor(names: HiddenNames, isStored: boolean) {
    this.names = names
    this.isStored = isStored
  }

  /** whether events have other numbers and places than the provider's */
  get isChanged(): boolean {
    return this.#isChanged || this.rounds.length > 0
  }

  /** Notes that an event was left out. */
  changed(): void {
    this.#isChanged = true
  }

  /** number of visible items of the rounds that have ended */
  get shownItems(): number {
    return this.shown().length
  }

  /** Returns the visible items of the rounds that have ended. */
  shown(): JsonObject[] {
    return this.rounds.flatMap(({ items }) => items.filter(({ hidden }) => !hidden).map(({ json }) => json))
  }

  /** Returns the number of the client's next event in place of the provider's. */
  numberOf(own: number): number {
    const number = this.isChanged ? (this.#nextNumber ?? 0) : own
    this.#nextNumber = number + 1
    return number
  }

  /** number of the client's next event */
  get nextNumber(): number {
    return this.#nextNumber ?? 0
  }

  /** Reads the id of a round. */
  head({ id }: JsonObject): void {
    this.#firstId ??= id
    this.lastId = textOf(id) ?? this.lastId
  }

  /** Records a round that has ended. */
  ended(round: ResponsesRound, usage: JsonObject | undefined): void {
    this.rounds.push(round)
    if (usage) this.#usage = sumOfUsage(this.#usage, usage)
  }

  /**
   * Turns the snapshot of the last round into that of the whole response. The last id stays if the provider stores
   * responses: only that response holds the whole thread.
   * @param shown the visible items of the last round; undefined if the snapshot lists no items
   */
  merge(snapshot: JsonObject, shown: readonly JsonObject[] | undefined): void {
    if (shown) snapshot.output = [...this.shown(), ...shown]
    const { usage } = snapshot
    if (isPlainObject(usage) && this.#usage) snapshot.usage = sumOfUsage(this.#usage, usage as JsonObject) // out of JSON.parse
    if (!this.isStored && textOf(this.#firstId) !== undefined) snapshot.id = this.#firstId ?? null
  }
}
