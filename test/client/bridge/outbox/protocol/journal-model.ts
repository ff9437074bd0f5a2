/** The journal as its promises describe it: frames in segments on a disk, some of them synced. */

/** What a frame says of a key: a slot's newest payload, or without a slot that the key is gone. */
export interface Frame<T> {
  key: string
  slot?: string
  payload?: T
  /** the other slots of the key are gone */
  replaces?: boolean
}

/** When the journal syncs. */
export type Mode = 'always' | 'interval' | 'never'

interface Segment<T> {
  frames: Frame<T>[]
  /** the number of its first frames that a power cut leaves */
  synced: number
}

/** What outlives a process: the segments, the oldest first. */
export interface Disk<T> {
  segments: Segment<T>[]
}

/** The ways in which a journal could be wrong. */
export interface JournalFlaws {
  /** a segment without live entries is deleted although an older one is there */
  deletesOutOfOrder?: boolean
  /** a segment is deleted although a power cut takes the frames that override its own */
  deletesBeforeSync?: boolean
  /** live entries are not carried forward out of a segment that is deleted */
  deletesLiveEntries?: boolean
  /** what was found at opening counts as synced */
  trustsFoundFrames?: boolean
}

interface Put<T> {
  frame: Frame<T>
  settle(written: boolean): void
}

/** One process's journal on a disk. */
export class JournalModel<T> {
  /** puts that no write has taken yet, in the order of their frames */
  readonly #queue: Put<T>[] = []
  readonly #disk: Disk<T>
  readonly #mode: Mode
  readonly #flaws: JournalFlaws

  /** @param mode `always`: a put resolves when it is synced */
  constructor(disk: Disk<T>, mode: Mode, flaws: JournalFlaws) {
    this.#disk = disk
    this.#mode = mode
    this.#flaws = flaws
    // A process that was killed may have left frames that are written and not synced.
    if (mode !== 'never' && !flaws.trustsFoundFrames) this.sync()
    disk.segments.push({ frames: [], synced: 0 })
  }

  /** Returns the live slots of each key. */
  live(): Map<string, Map<string, T>> {
    const keys = new Map<string, Map<string, T>>()
    for (const { key, slot, payload, replaces } of this.#disk.segments.flatMap(({ frames }) => frames)) {
      if (slot === undefined || payload === undefined) keys.delete(key)
      else {
        const slots = keys.get(key) ?? new Map<string, T>()
        if (replaces) slots.clear()
        keys.set(key, slots.set(slot, payload))
      }
    }
    return keys
  }

  put(frame: Frame<T>, settle: (written: boolean) => void): void {
    this.#queue.push({ frame, settle })
  }

  remove(key: string): void {
    this.#queue.push({ frame: { key }, settle: () => {} })
  }

  /** Writes all that is queued, as one group. */
  write(): void {
    const group = this.#queue.splice(0)
    this.#append(group.map(({ frame }) => frame))
    const segment = this.#disk.segments.at(-1)
    if (this.#mode === 'always' && segment) segment.synced = segment.frames.length
    for (const { settle } of group) settle(true)
  }

  /** Loses the group to an error of the disk. A removal is kept in memory for the next group. */
  fail(): void {
    const group = this.#queue.splice(0)
    this.#queue.push(...group.filter(({ frame }) => frame.slot === undefined))
    for (const { settle } of group) settle(false)
  }

  /** Syncs all segments. */
  sync(): void {
    for (const segment of this.#disk.segments) segment.synced = segment.frames.length
  }

  rotate(): void {
    this.#disk.segments.push({ frames: [], synced: 0 })
  }

  /** Deletes a segment: the oldest, after its live entries were appended anew. */
  compact(pick: number): void {
    const { segments } = this.#disk
    if (segments.length < 2) return
    if (this.#flaws.deletesOutOfOrder) {
      const idle = segments.filter(
        (segment, index) => index < segments.length - 1 && this.#liveFrames(segment).length === 0,
      )
      const chosen = idle[pick % Math.max(1, idle.length)]
      if (chosen) segments.splice(segments.indexOf(chosen), 1)
      return
    }
    const [oldest] = segments
    if (!oldest) return
    if (!this.#flaws.deletesLiveEntries) this.#append(this.#liveFrames(oldest))
    if (this.#mode !== 'never' && !this.#flaws.deletesBeforeSync) this.sync()
    segments.shift()
  }

  /**
   * Ends the process in the middle of a write of which `frames` frames were whole. A reader does not find the others.
   */
  kill(frames: number): void {
    this.#append(this.#queue.splice(0, frames % (this.#queue.length + 1)).map(({ frame }) => frame))
  }

  #append(frames: readonly Frame<T>[]): void {
    this.#disk.segments.at(-1)?.frames.push(...frames)
  }

  /** Frames of a segment that no later frame overrides. */
  #liveFrames(segment: Segment<T>): Frame<T>[] {
    const live = this.live()
    return segment.frames.filter(({ key, slot, payload }) => slot !== undefined && live.get(key)?.get(slot) === payload)
  }
}

/** Takes the power: of the frames that are not synced, those survive whose bit in `mask` is set. Returns the others. */
export function cutPower<T>(disk: Disk<T>, mask: number): Frame<T>[] {
  const lost: Frame<T>[] = []
  let index = 0
  for (const segment of disk.segments) {
    const survivors = segment.frames.filter((frame, place) => {
      const survives = place < segment.synced || ((mask >>> (index++ % 31)) & 1) === 1
      if (!survives) lost.push(frame)
      return survives
    })
    segment.frames = survivors
    segment.synced = survivors.length
  }
  return lost
}
