/** Work that is done one after another for each key, in the order in which it was asked for. */
export class OrderedWork {
  readonly #lines = new Map<string, Line>()

  /** keys that have work */
  get size(): number {
    return this.#lines.size
  }

  /** Does work behind the earlier work of the key, and returns its result. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    return this.#append(this.#lineOf(key), key, work)
  }

  /**
   * Does repeatable work behind the earlier work of the key. Returns undefined if work of this kind is the last in the
   * line and has not begun: it will do.
   */
  repeat(key: string, work: () => Promise<void>): Promise<void> | undefined {
    const line = this.#lineOf(key)
    if (line.endsWithRepeat) return undefined
    const done = this.#append(line, key, async () => {
      line.endsWithRepeat &&= line.waiting > 0
      await work()
    })
    line.endsWithRepeat = true
    return done
  }

  #lineOf(key: string): Line {
    let line = this.#lines.get(key)
    if (!line) {
      line = { waiting: 0, endsWithRepeat: false, last: Promise.resolve() }
      this.#lines.set(key, line)
    }
    return line
  }

  #append<T>(line: Line, key: string, work: () => Promise<T>): Promise<T> {
    line.waiting++
    line.endsWithRepeat = false
    const done = line.last.then(() => {
      line.waiting--
      return work()
    })
    const onSettled = () => {
      if (line.last === settled) this.#lines.delete(key)
    }
    const settled = done.then(onSettled, onSettled)
    line.last = settled
    return done
  }
}

/** The work of one key. */
interface Line {
  /** work that has not begun */
  waiting: number
  /** the last work that has not begun may be repeated */
  endsWithRepeat: boolean
  last: Promise<void>
}
