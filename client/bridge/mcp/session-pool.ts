import { toolLimits } from '../../../shared/contract/limits.js'
import { abortable } from '../../../shared/values/abortable.js'
import type { McpSession } from './mcp-session.js'

/** Names a session: what differs in one of these has a session of its own. */
export interface SessionPlace {
  userId: string
  serverId: string
  serverUrl: string
  /** the key of the conversation; empty for lists of tools */
  conversation: string
}

/** Bounds of a {@link SessionPool}; see `toolLimits`. */
export interface SessionPoolLimits {
  maxSessions: number
  maxSessionsOfUser: number
  idleSessionMs: number
}

interface Entry {
  userId: string
  session: Promise<McpSession>
  uses: number
  usedAt: number
}

/**
 * Sessions that are kept between calls, so that servers with a state see one session for a conversation. Sessions that
 * are not used for a while are ended; above the bounds the least used idle session is.
 */
export class SessionPool {
  readonly #begin: (place: SessionPlace) => Promise<McpSession>
  readonly #limits: SessionPoolLimits
  /** in the order of the last use */
  readonly #entries = new Map<string, Entry>()
  readonly #ending = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  /** @param begin begins a session, for all callers that wait for it */
  constructor(begin: (place: SessionPlace) => Promise<McpSession>, limits: SessionPoolLimits = toolLimits) {
    this.#begin = begin
    this.#limits = limits
  }

  /** number of sessions, those that begin included */
  get size(): number {
    return this.#entries.size
  }

  /**
   * Runs `work` in the session of a place, which begins if need be. If `isLost` says so of an error, the session is
   * dropped, and `work` runs once more in a new one.
   */
  async run<T>(
    place: SessionPlace,
    work: (session: McpSession) => Promise<T>,
    { signal, isLost }: { signal: AbortSignal | undefined; isLost: (error: unknown) => boolean },
  ): Promise<T> {
    const key = JSON.stringify([place.userId, place.serverId, place.serverUrl, place.conversation])
    for (let isFirst = true; ; isFirst = false) {
      const entry = this.#use(key, place)
      try {
        return await work(await (signal ? abortable(entry.session, signal) : entry.session))
      } catch (error) {
        const isGone = isLost(error)
        if (isGone && this.#entries.get(key) === entry) this.#entries.delete(key)
        if (!isGone || !isFirst || this.#isClosed) throw error
      } finally {
        entry.uses--
        entry.usedAt = performance.now()
        if (this.#isClosed) this.#drop(key, entry)
        this.#schedule()
      }
    }
  }

  /** Ends all sessions. Resolves when their servers know, or have had the time to. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    for (const [key, entry] of this.#entries) this.#drop(key, entry)
    await Promise.all(this.#ending)
  }

  #use(key: string, place: SessionPlace): Entry {
    let entry = this.#entries.get(key)
    this.#entries.delete(key)
    if (!entry) {
      const session = this.#begin(place)
      entry = { userId: place.userId, session, uses: 0, usedAt: 0 }
      const begun = entry
      // A session that did not begin is tried again by the next call.
      session.catch(() => {
        if (this.#entries.get(key) === begun) this.#entries.delete(key)
      })
    }
    entry.uses++
    this.#entries.set(key, entry)
    this.#makeRoom(place.userId)
    return entry
  }

  #makeRoom(userId: string): void {
    const { maxSessions, maxSessionsOfUser } = this.#limits
    const ofUser = [...this.#entries].filter(([, entry]) => entry.userId === userId)
    const [isFull, isUserFull] = [this.#entries.size > maxSessions, ofUser.length > maxSessionsOfUser]
    if (!isFull && !isUserFull) return
    const idle = (isUserFull ? ofUser : [...this.#entries]).find(([, { uses }]) => uses === 0)
    if (idle) this.#drop(...idle)
  }

  #drop(key: string, entry: Entry): void {
    if (this.#entries.get(key) === entry) this.#entries.delete(key)
    const ending: Promise<void> = entry.session
      .then(
        session => session.end(),
        () => {}, // it has not begun
      )
      .finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
  }

  #schedule(): void {
    if (this.#timer || this.#isClosed || this.#entries.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const usedBefore = performance.now() - this.#limits.idleSessionMs
      for (const [key, entry] of this.#entries)
        if (entry.uses === 0 && entry.usedAt <= usedBefore) this.#drop(key, entry)
      this.#schedule()
    }, this.#limits.idleSessionMs).unref()
  }
}
