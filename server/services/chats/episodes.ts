/** The live parts of the chats that run in this process. They are never stored. */
import { chatLimits } from '../../../shared/contract/limits.js'
import { utf8Bytes } from '../../../shared/values/text.js'
import type { Episode, EpisodeEvent, LiveParts } from './live-parts.js'
import type { LivePart } from './model.js'
import { publicParts } from './public-parts.js'

/** Takes the parts of one attempt. */
export interface EpisodeWriter {
  add(part: LivePart): void
  /** Ends the episode: no part follows. A second call changes nothing. */
  end(): void
}

/** Bounds of {@link Episodes}. */
export type EpisodeLimits = Record<'episodeBytes' | 'episodesBytes' | 'episodeKeptMs', number>

/** Memory of a part besides its JSON text: objects and their place in a list. */
const partBytes = 100

/**
 * ```
 * open ──end()──▶ ended ──15 s without a follower──▶ forgotten
 *   └──buffer full──▶ cut ──end(), 15 s …──▶ forgotten
 * ```
 */
class KeptEpisode {
  readonly parts: LivePart[] = []
  bytes = 0
  state: 'open' | 'cut' | 'ended' = 'open'
  /** since `end()`; undefined before */
  timer: NodeJS.Timeout | undefined
  isOver = false
  followers = 0
  readonly episode: Episode
  /** of followers that have read all parts */
  readonly wakes = new Set<() => void>()

  constructor(episode: Episode) {
    this.episode = episode
  }

  wake(): void {
    for (const wake of [...this.wakes]) wake()
  }
}

/** A follower of an episode that has not begun. */
interface Waiting {
  episode: Episode
  found(kept: KeptEpisode | undefined): void
}

/**
 * Keeps the parts of each attempt for its followers: within 1 MiB an attempt and 64 MiB in all, until 15 s behind its
 * end, and longer while it is followed. A follower reads at its own pace from the kept parts, so a slow one holds up
 * neither the run nor another follower.
 */
export class Episodes implements LiveParts {
  readonly #limits: EpisodeLimits
  /** chat → its episodes, the oldest first: mostly one */
  readonly #chats = new Map<string, KeptEpisode[]>()
  readonly #waiting = new Map<string, Set<Waiting>>()
  #bytes = 0

  constructor(limits: EpisodeLimits = chatLimits) {
    this.#limits = limits
  }

  /** bytes of all kept parts */
  get bytes(): number {
    return this.#bytes
  }

  /** Begins an episode. Followers of earlier ones that have not begun learn that these never will. */
  begin(episode: Episode): EpisodeWriter {
    const kept = new KeptEpisode(episode)
    const ofChat = this.#chats.get(episode.chatId) ?? []
    this.#chats.set(episode.chatId, [...ofChat, kept])
    for (const waiting of this.#waiting.get(episode.chatId) ?? []) {
      if (isSame(waiting.episode, episode)) waiting.found(kept)
      else if (isBefore(waiting.episode, episode)) waiting.found(undefined)
    }
    return { add: part => this.#add(kept, part), end: () => this.#end(kept) }
  }

  async *follow(episode: Episode, after: number, signal: AbortSignal): AsyncGenerator<EpisodeEvent> {
    const kept = await this.#find(episode, signal)
    if (!kept) return
    kept.followers++
    try {
      for (let next = after; !signal.aborted; ) {
        const part = kept.parts[next]
        if (part) {
          next++
          yield { kind: 'part', seq: next, part }
        } else if (kept.state !== 'open') {
          yield { kind: kept.state }
          return
        } else await changed(kept, signal)
      }
    } finally {
      kept.followers--
      if (kept.isOver && kept.followers === 0 && kept.timer === undefined) this.#forget(kept)
    }
  }

  /** Forgets all episodes; followers get an end. */
  close(): void {
    for (const kept of [...this.#chats.values()].flat()) {
      this.#end(kept)
      this.#forget(kept)
    }
    for (const waiting of [...this.#waiting.values()].flatMap(ofChat => [...ofChat])) waiting.found(undefined)
  }

  /** Keeps a part as it may leave the server. */
  #add(kept: KeptEpisode, { role, index, part: stored }: LivePart): void {
    const [shown] = publicParts([stored])
    if (kept.state !== 'open' || !shown) return
    const part: LivePart = { role, index, part: shown }
    const bytes = utf8Bytes(JSON.stringify(part)) + partBytes
    if (kept.bytes + bytes > this.#limits.episodeBytes || !this.#makeRoom(bytes)) kept.state = 'cut'
    else {
      kept.parts.push(part)
      kept.bytes += bytes
      this.#bytes += bytes
    }
    kept.wake()
  }

  /** Returns whether there is room, for which ended episodes without a follower go, the oldest first. */
  #makeRoom(bytes: number): boolean {
    if (this.#bytes + bytes <= this.#limits.episodesBytes) return true
    for (const kept of [...this.#chats.values()].flat()) {
      if (kept.isOver && kept.followers === 0) this.#forget(kept)
      if (this.#bytes + bytes <= this.#limits.episodesBytes) return true
    }
    return false
  }

  #end(kept: KeptEpisode): void {
    if (kept.isOver) return
    kept.isOver = true
    if (kept.state === 'open') kept.state = 'ended'
    kept.wake()
    kept.timer = setTimeout(() => {
      kept.timer = undefined
      if (kept.followers === 0) this.#forget(kept)
    }, this.#limits.episodeKeptMs)
    kept.timer.unref()
  }

  #forget(kept: KeptEpisode): void {
    clearTimeout(kept.timer)
    kept.timer = undefined
    const { chatId } = kept.episode
    const left = (this.#chats.get(chatId) ?? []).filter(other => other !== kept)
    if (left.length > 0) this.#chats.set(chatId, left)
    else this.#chats.delete(chatId)
    this.#bytes -= kept.bytes
    kept.bytes = 0
  }

  /** Resolves with an episode when it has begun; undefined if it is gone, or the signal aborts. */
  #find(episode: Episode, signal: AbortSignal): Promise<KeptEpisode | undefined> {
    const ofChat = this.#chats.get(episode.chatId) ?? []
    const kept = ofChat.findLast(other => isSame(other.episode, episode))
    const isGone = ofChat.some(other => isBefore(episode, other.episode))
    if (kept || isGone || signal.aborted) return Promise.resolve(signal.aborted ? undefined : kept)
    return new Promise(resolve => {
      const waiting: Waiting = {
        episode,
        found: found => {
          signal.removeEventListener('abort', onAbort)
          const others = this.#waiting.get(episode.chatId)
          others?.delete(waiting)
          if (others?.size === 0) this.#waiting.delete(episode.chatId)
          resolve(found)
        },
      }
      const onAbort = () => waiting.found(undefined)
      signal.addEventListener('abort', onAbort, { once: true })
      const others = this.#waiting.get(episode.chatId)
      if (others) others.add(waiting)
      else this.#waiting.set(episode.chatId, new Set([waiting]))
    })
  }
}

/** Resolves when an episode has changed, or the signal aborts. */
function changed(kept: KeptEpisode, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const wake = () => {
      kept.wakes.delete(wake)
      signal.removeEventListener('abort', wake)
      resolve()
    }
    kept.wakes.add(wake)
    signal.addEventListener('abort', wake, { once: true })
  })
}

function isSame(one: Episode, other: Episode): boolean {
  return one.historyVersion === other.historyVersion && one.attempt === other.attempt
}

function isBefore(one: Episode, other: Episode): boolean {
  if (one.historyVersion !== other.historyVersion) return one.historyVersion < other.historyVersion
  return one.attempt < other.attempt
}
