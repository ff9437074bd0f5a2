/** The live parts of chats that other servers run, for the watchers of this one. */
import { chatLimits, presence } from '../../../shared/contract/limits.js'
import { utf8Bytes } from '../../../shared/values/text.js'
import type { Episode, EpisodeEvent, LiveParts } from '../../services/chats/live-parts.js'
import type { ReplicaStore } from '../../store/store.js'
import type { PeerLinks } from './peer-links.js'

/** Settings of {@link RelayedParts}. */
export interface RelayedPartsOptions {
  store: Pick<ReplicaStore, 'findReplica'>
  peers: Pick<PeerLinks, 'use'>
  /** called for each part that arrives */
  onPart?: (() => void) | undefined
  /** bytes of the parts that are kept for followers, in all */
  maxBytes?: number
}

/** Memory of an event besides its JSON text: objects and their place in a list. */
const eventBytes = 100

/** One subscription at another server, and what it has brought. */
interface Relay {
  readonly events: EpisodeEvent[]
  readonly abort: AbortController
  bytes: number
  followers: number
  /** `undefined` while events may follow */
  end: { error?: unknown } | undefined
  /** of followers that have read all events */
  readonly wakes: Set<() => void>
}

/**
 * Follows episodes at the servers that run them. All followers of an episode share one subscription, which begins with
 * the first of them and ends with the last. Events are kept meanwhile, within the bounds of the other server's own
 * buffer, so each follower reads at its own pace.
 */
export class RelayedParts {
  readonly #options: RelayedPartsOptions
  readonly #relays = new Map<string, Relay>()
  #bytes = 0

  constructor(options: RelayedPartsOptions) {
    this.#options = options
  }

  /** subscriptions at other servers */
  get relays(): number {
    return this.#relays.size
  }

  /** The live parts of a server, which is dialled when an episode is followed. A failed relay rejects its followers. */
  of(runner: string): LiveParts {
    return { follow: (episode, after, signal) => this.#follow(runner, episode, after, signal) }
  }

  async *#follow(runner: string, episode: Episode, after: number, signal: AbortSignal): AsyncGenerator<EpisodeEvent> {
    if (signal.aborted) return
    const key = `${runner}.${episode.chatId}.${episode.historyVersion}.${episode.attempt}`
    const relay = this.#relays.get(key) ?? this.#open(key, runner, episode)
    relay.followers++
    try {
      // A relay has all parts from the first one on.
      for (let next = after; !signal.aborted; ) {
        const event = relay.events[next]
        if (event?.kind === 'part') {
          next++
          yield event
        } else if (!relay.end) await changed(relay, signal)
        else if ('error' in relay.end) throw relay.end.error
        else {
          // The memory of this server may be full before the place of a follower that was elsewhere.
          const last = relay.events.at(-1)
          if (last && last.kind !== 'part') yield last
          return
        }
      }
    } finally {
      relay.followers--
      if (relay.followers === 0) this.#close(key, relay)
    }
  }

  #open(key: string, runner: string, episode: Episode): Relay {
    const relay: Relay = {
      events: [],
      abort: new AbortController(),
      bytes: 0,
      followers: 0,
      end: undefined,
      wakes: new Set(),
    }
    this.#relays.set(key, relay)
    void this.#run(relay, runner, episode)
      .then(
        () => ({}),
        (error: unknown) => ({ error }),
      )
      .then(end => {
        relay.end = end
        // The next follower begins anew.
        this.#close(key, relay)
        wake(relay)
      })
    return relay
  }

  async #run(relay: Relay, runner: string, episode: Episode): Promise<void> {
    const { store, peers, onPart, maxBytes = chatLimits.episodesBytes } = this.#options
    const { signal } = relay.abort
    const replica = await store.findReplica(runner, presence.replicaGoneAfterMs)
    if (!replica) throw new Error(`no server that can be reached has the id ${runner}`)
    if (signal.aborted) return
    await peers.use(replica, async peer => {
      for await (const event of peer.followParts(episode, signal)) {
        if (signal.aborted) return
        if (event.kind === 'part') onPart?.()
        const bytes = utf8Bytes(JSON.stringify(event)) + eventBytes
        if (event.kind !== 'part' || this.#bytes + bytes > maxBytes) {
          relay.events.push(event.kind === 'part' ? { kind: 'cut' } : event)
          return
        }
        relay.events.push(event)
        relay.bytes += bytes
        this.#bytes += bytes
        wake(relay)
      }
    })
  }

  /** Ends the subscription. Followers that still read keep the events; their memory counts no more. */
  #close(key: string, relay: Relay): void {
    if (this.#relays.get(key) !== relay) return
    this.#relays.delete(key)
    this.#bytes -= relay.bytes
    relay.abort.abort()
  }
}

function wake(relay: Relay): void {
  for (const one of [...relay.wakes]) one()
}

/** Resolves when a relay has changed, or the signal aborts. */
function changed(relay: Relay, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      relay.wakes.delete(done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    relay.wakes.add(done)
    signal.addEventListener('abort', done, { once: true })
  })
}
