import { backgroundTimer } from '../../../shared/rpc/background-timer.js'

/** A session of a user on an MCP server. */
export interface Session {
  readonly userId: string
  readonly serverId: string
  /** the server's own id */
  readonly id: string
}

/** Options of {@link Sessions}. */
export interface SessionsOptions {
  maxPerUser: number
  /** time without a request after which a session is given up */
  idleMs: number
  /** takes a session that is given up, which its server should forget. Never throws. */
  onGivenUp: (session: Session) => void
}

interface Known extends Session {
  requests: number
  timer: NodeJS.Timeout | undefined
}

/** The sessions of one user, in the order of the last use; and the requests that may open one. */
interface User {
  sessions: Map<string, Known>
  opening: number
}

/**
 * The sessions that this bridge has seen, to bound how many a user has: clients that die leave theirs open. A user's
 * next session takes the place of the one that was unused the longest; its client gets 404 and opens another.
 */
export class Sessions {
  readonly #options: SessionsOptions
  readonly #users = new Map<string, User>()
  #isClosed = false

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  /** number of sessions of all users */
  get size(): number {
    return [...this.#users.values()].reduce((sum, { sessions }) => sum + sessions.size, 0)
  }

  /**
   * Keeps a place for a session that a request may open, until the returned function is called. Returns undefined if
   * requests run in all of the user's sessions.
   */
  reserve(userId: string): (() => void) | undefined {
    const user = this.#user(userId)
    user.opening++
    const release = once(() => {
      user.opening--
      this.#forgetIdleUser(userId)
    })
    if (this.#makeRoom(user)) return release
    release()
    return undefined
  }

  /**
   * Notes a request in a session, which is added if it is not known; until the returned function is called the session
   * is in use.
   */
  use(session: Session): () => void {
    if (this.#isClosed) return () => {}
    const user = this.#user(session.userId)
    const key = keyOf(session)
    const known = user.sessions.get(key) ?? { ...session, requests: 0, timer: undefined }
    known.requests++
    clearTimeout(known.timer)
    known.timer = undefined
    user.sessions.delete(key)
    user.sessions.set(key, known)
    this.#makeRoom(user)
    return once(() => {
      known.requests--
      if (known.requests > 0 || this.#isClosed || user.sessions.get(key) !== known) return
      known.timer = backgroundTimer(() => this.#giveUp(user, known), this.#options.idleMs)
    })
  }

  /** Returns whether a session is known: others are those of another bridge, of an earlier process, or have ended. */
  knows(session: Session): boolean {
    return this.#users.get(session.userId)?.sessions.has(keyOf(session)) ?? false
  }

  /** Forgets a session that has ended. */
  end(session: Session): void {
    const user = this.#users.get(session.userId)
    const known = user?.sessions.get(keyOf(session))
    if (!user || !known) return
    clearTimeout(known.timer)
    user.sessions.delete(keyOf(session))
    this.#forgetIdleUser(session.userId)
  }

  /** Forgets all sessions, which go on: another bridge, or this one behind its restart, serves them. */
  close(): void {
    this.#isClosed = true
    for (const { sessions } of this.#users.values()) for (const { timer } of sessions.values()) clearTimeout(timer)
    this.#users.clear()
  }

  /** Returns whether the user has no more sessions than allowed; gives up those that were unused the longest. */
  #makeRoom(user: User): boolean {
    for (const known of user.sessions.values()) {
      if (user.sessions.size + user.opening <= this.#options.maxPerUser) break
      if (known.requests === 0) this.#giveUp(user, known)
    }
    return user.sessions.size + user.opening <= this.#options.maxPerUser
  }

  #giveUp(user: User, known: Known): void {
    clearTimeout(known.timer)
    user.sessions.delete(keyOf(known))
    this.#forgetIdleUser(known.userId)
    const { userId, serverId, id } = known
    this.#options.onGivenUp({ userId, serverId, id })
  }

  #user(userId: string): User {
    let user = this.#users.get(userId)
    if (!user) {
      user = { sessions: new Map(), opening: 0 }
      this.#users.set(userId, user)
    }
    return user
  }

  #forgetIdleUser(userId: string): void {
    const user = this.#users.get(userId)
    if (user && user.sessions.size === 0 && user.opening === 0) this.#users.delete(userId)
  }
}

function keyOf({ serverId, id }: Session): string {
  return `${serverId} ${id}`
}

function once(run: () => void): () => void {
  let hasRun = false
  return () => {
    if (hasRun) return
    hasRun = true
    run()
  }
}
