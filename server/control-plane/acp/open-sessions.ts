/** The sessions of one connection. */
import { AgentError, codes } from './agent-errors.js'
import type { ChatSession } from './chat-session.js'
import { OrderedWork } from './ordered-work.js'

/** Settings of {@link OpenSessions}. */
export interface OpenSessionsOptions {
  /** sessions that are open, or are being opened, at once */
  maxSessions: number
  /** Begins to follow a chat, in place of the session that followed it before. */
  follow(chatId: string, withHistory: boolean, earlier: ChatSession | undefined): ChatSession
}

/** A place among the sessions. It is free again when nobody opens the session and nothing follows it. */
interface Place {
  openings: number
  session: ChatSession | undefined
}

/**
 * The sessions that a connection has opened. The requests of a session are served in their order, so that a cancel
 * reaches the prompts before it and no later ones. Nothing is followed behind {@link OpenSessions.close}.
 */
export class OpenSessions {
  readonly #options: OpenSessionsOptions
  readonly #places = new Map<string, Place>()
  readonly #work = new OrderedWork()
  #isClosed = false

  constructor(options: OpenSessionsOptions) {
    this.#options = options
  }

  /** Whether a session is open, or is being opened. */
  has(chatId: string): boolean {
    return this.#places.has(chatId)
  }

  /** Does work on a session, which is undefined if it is not open then. */
  work<T>(chatId: string, work: (session: ChatSession | undefined) => Promise<T>): Promise<T> {
    return this.#work.run(chatId, () => work(this.#places.get(chatId)?.session))
  }

  /** Does work that may be repeated; returns undefined if the same work is the next to be done. */
  repeat(chatId: string, work: (session: ChatSession | undefined) => Promise<void>): Promise<void> | undefined {
    return this.#work.repeat(chatId, () => work(this.#places.get(chatId)?.session))
  }

  /**
   * Opens a session, or opens it again. The place is taken before `prepare` is called. Resolves when the stored updates
   * have been shown.
   * @throws AgentError if all places are taken, or the session is closed or opened again meanwhile
   */
  async open(chatId: string, withHistory: boolean, prepare: () => Promise<unknown>): Promise<void> {
    const place = this.#take(chatId)
    const { session } = await this.#work.run(chatId, async () => {
      try {
        await prepare()
        if (this.#isClosed) throw new AgentError(codes.cancelled, 'the connection has ended')
        place.session = this.#options.follow(chatId, withHistory, place.session)

        return { session: place.session }
      } finally {
        place.openings--
        this.#release(chatId, place)
      }
    })
    await session.ready
  }

  /** Frees the place of a session that has failed. */
  drop(chatId: string, session: ChatSession): void {
    const place = this.#places.get(chatId)
    if (place?.session !== session) return
    place.session = undefined
    this.#release(chatId, place)
  }

  /** Ends all sessions; their turns go on. */
  close(): void {
    this.#isClosed = true
    for (const { session } of this.#places.values()) void session?.close()
    this.#places.clear()
  }

  #take(chatId: string): Place {
    let place = this.#places.get(chatId)
    if (!place) {
      const { maxSessions } = this.#options
      if (this.#places.size >= maxSessions) {
        const problem = `${maxSessions} sessions are open on this connection: close one first`
        throw new AgentError(codes.internalError, problem)
      }
      place = { openings: 0, session: undefined }
      this.#places.set(chatId, place)
    }
    place.openings++
    return place
  }

  #release(chatId: string, place: Place): void {
    if (place.openings > 0 || place.session) return
    if (this.#places.get(chatId) === place) this.#places.delete(chatId)
  }
}
