/**
 * The transformer's output for one message. No other code holds its `json`, so the in-memory link may give the `json`
 * itself to the receiver; a copy would take a sixth of the time of a call.
 */
export class OwnedJson {
  readonly json: unknown
  readonly meta: object | undefined
  // Private, so that the text of this object has no such fields.
  readonly #bytes: number
  readonly #containers: number
  readonly #levels: number
  #isOwned = true

  /** @param size of `json`, as a copy counts it: estimated bytes of its text, objects and arrays, levels */
  constructor(json: unknown, meta: object | undefined, size: { bytes: number; containers: number; levels: number }) {
    this.json = json
    this.meta = meta
    this.#bytes = size.bytes
    this.#containers = size.containers
    this.#levels = size.levels
  }

  get bytes(): number {
    return this.#bytes
  }

  get containers(): number {
    return this.#containers
  }

  get levels(): number {
    return this.#levels
  }

  /** Keeps `json` for further messages: every receiver gets a copy. */
  keep(): void {
    this.#isOwned = false
  }

  /** Returns whether the receiver may have `json` itself; true once at most. */
  giveUp(): boolean {
    const isOwned = this.#isOwned
    this.#isOwned = false
    return isOwned
  }
}
