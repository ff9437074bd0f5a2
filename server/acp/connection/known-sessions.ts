/** The sessions that a connection has seen, and the ids of their streams' next events. */

/** Remembers the newest sessions; a session that is seen again is new again. */
export class KnownSessions {
  readonly #nextIds = new Map<string, number>()
  readonly #maxSessions: number

  constructor(maxSessions: number) {
    this.#maxSessions = maxSessions
  }

  get size(): number {
    return this.#nextIds.size
  }

  has(sessionId: string): boolean {
    return this.#nextIds.has(sessionId)
  }

  /** Notes a session; `nextId` is the id of the next event of its stream, if that is not 1. */
  add(sessionId: string, nextId = this.nextIdOf(sessionId)): void {
    this.#nextIds.delete(sessionId)
    this.#nextIds.set(sessionId, nextId)
    for (const oldest of this.#nextIds.keys()) {
      if (this.#nextIds.size <= this.#maxSessions) break
      this.#nextIds.delete(oldest)
    }
  }

  /** Returns the id with which a new stream of the session begins: ids of one session never repeat. */
  nextIdOf(sessionId: string): number {
    return this.#nextIds.get(sessionId) ?? 1
  }
}
