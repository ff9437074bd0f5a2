/** The live parts of running chats, as watchers follow them: those of this process, and of another one by its link. */
import type { LivePart } from './model.js'

/** One attempt of a chat's turn. */
export interface Episode {
  chatId: string
  historyVersion: number
  attempt: number
}

/** An event of an episode; `seq` begins at 1. `cut`: the buffer is full. `ended`: no part follows. */
export type EpisodeEvent = { kind: 'part'; seq: number; part: LivePart } | { kind: 'cut' } | { kind: 'ended' }

/** The live parts of chats that one server runs. */
export interface LiveParts {
  /**
   * Yields the events of an episode behind the part `after`. Waits for an episode that has not begun; ends behind
   * `ended` or `cut`, when the signal aborts, and when the episode is not kept any more.
   */
  follow(episode: Episode, after: number, signal: AbortSignal): AsyncIterable<EpisodeEvent>
}

/** Returns the live parts of a server's chats; undefined for a server that cannot be reached. Never waits. */
export type LivePartsOf = (runner: string) => LiveParts | undefined
