/** The connections of this server to the other servers of its database. */
import type { ProcessHost } from '../../../shared/contract/agents.js'
import { peerLimits } from '../../../shared/contract/limits.js'
import type { CallEnd } from '../../../shared/rpc/call-end.js'
import type { Logger } from '../../../shared/values/log.js'
import type { Episode, EpisodeEvent } from '../../services/chats/live-parts.js'
import type { Replica } from '../../store/store.js'

/** A connection to another server, which dials again whenever it is lost. */
export interface PeerConnection {
  /** The processes of an agent whose connection the other server holds. */
  agent(agentId: string, instanceId: string): ProcessHost
  /** Yields the events of an episode of a chat that the other server runs, from the first one on. */
  followParts(episode: Episode, signal: AbortSignal): AsyncIterable<EpisodeEvent>
  isOpen(): boolean
  /** Calls `listener` after each change of the state. */
  onStateChange(listener: () => void): void
  /** Resolves when the connection is closed for good: by `close()`, or because the other server rejects this one. */
  readonly closed: Promise<unknown>
  /** Closes for good: calls in flight fail with `connection_closed`. */
  close(): Promise<void>
}

/** The settings of one connection. */
export interface PeerDial {
  /** base URL of the other server */
  url: string
  /** makes the token of one dial */
  token: () => string
  /** takes errors that belong to no call, such as failed dials */
  onError: (error: Error) => void
  onCallEnd: (end: CallEnd) => void
}

/** Connects to another server: `connectPeer` of `aibridge/client`. */
export type ConnectPeer = (dial: PeerDial) => PeerConnection

/** Settings of {@link PeerLinks}. */
export interface PeerLinksOptions {
  connectPeer: ConnectPeer
  /** makes the token of one dial to a server process */
  createToken: (replica: string) => string
  logger: Logger
  onCallEnd?: ((end: CallEnd) => void) | undefined
  /** a connection without a call is closed after this time; default 30 s */
  idleMs?: number
}

/** A connection, and the calls that use it. */
interface Link {
  readonly replica: Replica
  readonly peer: PeerConnection
  users: number
  timer: NodeJS.Timeout | undefined
}

/**
 * One connection to each other server that is called, for all calls: opened for the first call, closed when it was of
 * no use for a while, or when it is lost and no call waits. Each server is dialled by itself, so a dial that hangs
 * delays no call to another.
 */
export class PeerLinks {
  readonly #options: PeerLinksOptions
  readonly #links = new Map<string, Link>()
  #isClosed = false

  constructor(options: PeerLinksOptions) {
    this.#options = options
  }

  /** connections that are open */
  get connections(): number {
    let open = 0
    for (const { peer } of this.#links.values()) if (peer.isOpen()) open++
    return open
  }

  /**
   * Runs `work` with the connection to a server, which stays until `work` has ended.
   * @throws the errors of `work`; Error after {@link close}
   */
  async use<T>(replica: Replica, work: (peer: PeerConnection) => Promise<T>): Promise<T> {
    const link = this.#links.get(replica.id) ?? this.#open(replica)
    clearTimeout(link.timer)
    link.users++
    try {
      return await work(link.peer)
    } finally {
      link.users--
      this.#settle(link)
    }
  }

  /** The processes of an agent whose connection another server holds. */
  agentHost(replica: Replica, agentId: string, instanceId: string): ProcessHost {
    const call = <T>(work: (host: ProcessHost) => Promise<T>): Promise<T> =>
      this.use(replica, peer => work(peer.agent(agentId, instanceId)))
    return {
      info: options => call(host => host.info(options)),
      start: (input, options) => call(host => host.start(input, options)),
      output: (input, options) => call(host => host.output(input, options)),
      list: (input, options) => call(host => host.list(input, options)),
      signal: (input, options) => call(host => host.signal(input, options)),
      cancel: (input, options) => call(host => host.cancel(input, options)),
    }
  }

  /** Closes all connections, with the calls in flight. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#links.values()].map(link => this.#drop(link)))
  }

  #open(replica: Replica): Link {
    if (this.#isClosed) throw new Error('the connections to other servers are closed')
    const { connectPeer, createToken, logger, onCallEnd = () => {} } = this.#options
    let lastProblem = ''
    const peer = connectPeer({
      url: replica.advertiseUrl,
      token: () => createToken(replica.id),
      onError(error) {
        // A server that is away for an hour is one line, not thousands.
        const level = error.message === lastProblem ? 'debug' : 'warn'
        lastProblem = error.message
        logger[level]({ err: error, url: replica.advertiseUrl }, 'the link to another server failed')
      },
      onCallEnd,
    })
    const link: Link = { replica, peer, users: 0, timer: undefined }
    this.#links.set(replica.id, link)
    peer.onStateChange(() => {
      if (peer.isOpen()) lastProblem = ''
      else this.#settle(link)
    })
    // Rejected for good, for instance since the server at the URL is another one now: the next call dials anew.
    void peer.closed.then(() => this.#forget(link))
    return link
  }

  /** Closes a connection without users: at once if it is not open, since it would dial for nobody. */
  #settle(link: Link): void {
    clearTimeout(link.timer)
    if (link.users > 0 || this.#links.get(link.replica.id) !== link) return
    if (!link.peer.isOpen()) return void this.#drop(link)
    link.timer = setTimeout(() => void this.#drop(link), this.#options.idleMs ?? peerLimits.idleMs).unref()
  }

  async #drop(link: Link): Promise<void> {
    this.#forget(link)
    await link.peer.close()
  }

  #forget(link: Link): void {
    clearTimeout(link.timer)
    if (this.#links.get(link.replica.id) === link) this.#links.delete(link.replica.id)
  }
}
