import type { Entry, PutEntry } from './frame.js'
import type { Segment } from './segment.js'

/** Where the newest payload of a slot stands. */
export interface Place {
  slot: string
  segment: Segment
  /** where its frame begins */
  at: number
  /** its share of the file */
  bytes: number
}

/** Which entries no later entry overrides, and how much of each segment they take. */
export class LiveEntries {
  readonly #keys = new Map<string, Place[]>()
  /** those of the keys whose removal is not written yet */
  readonly #removed = new Set<string>()
  #bytes = 0

  /** the size of all live entries in their segments */
  get bytes(): number {
    return this.#bytes
  }

  /** the number of keys that are not removed */
  get size(): number {
    return this.#keys.size - this.#removed.size
  }

  /** Counts a key as removed already; its entries count until the removal is applied. */
  willRemove(key: string): void {
    if (this.#keys.has(key)) this.#removed.add(key)
  }

  has(key: string): boolean {
    return this.#keys.has(key)
  }

  /** Returns the places of a key's slots. */
  placesOf(key: string): readonly Place[] {
    return this.#keys.get(key) ?? []
  }

  /** Whether the entry of a frame is the newest of its slot. */
  isNewest({ key, slot }: PutEntry, segment: Segment, at: number): boolean {
    return this.placesOf(key).some(place => place.slot === slot && place.segment === segment && place.at === at)
  }

  /** Takes an entry that was written: the newest of all. */
  apply(entry: Entry, segment: Segment, at: number, bytes: number): void {
    const { key, slot } = entry
    const places = this.#keys.get(key)
    const kept: Place[] = []
    for (const place of places ?? []) {
      if (slot === undefined || entry.replaces || place.slot === slot) this.#count(place, -1)
      else kept.push(place)
    }
    if (slot === undefined) {
      this.#forget(key)
      return
    }
    const place = { slot, segment, at, bytes }
    this.#count(place, 1)
    kept.push(place)
    this.#keys.set(key, kept)
  }

  /** Forgets the entries of a segment in other frames than these: their frames cannot be read any more. */
  keepOnly(segment: Segment, frames: ReadonlySet<number>): void {
    for (const [key, places] of this.#keys) {
      const kept = places.filter(place => place.segment !== segment || frames.has(place.at))
      if (kept.length === places.length) continue
      for (const place of places) if (!kept.includes(place)) this.#count(place, -1)
      if (kept.length > 0) this.#keys.set(key, kept)
      else this.#forget(key)
    }
  }

  #forget(key: string): void {
    this.#keys.delete(key)
    this.#removed.delete(key)
  }

  #count({ segment, bytes }: Place, sign: 1 | -1): void {
    segment.liveBytes += sign * bytes
    this.#bytes += sign * bytes
  }
}
