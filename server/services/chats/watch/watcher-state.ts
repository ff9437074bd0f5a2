/**
 * The state of one watcher of a chat: what it has been told. Each input brings events; nothing waits here.
 *
 * ```
 * begin ──▶ sync (first page) ──▶ … sync (last page) ──▶ parts of the followed episode ──▶ sync …
 * ```
 *
 * The database decides which episode is shown: a part of any other one, and any part but the next, is dropped.
 */
import type { ChatEvent, ChatMessage, QueuedMessage } from '../../../../shared/contract/chats.js'
import type { ChatRow } from '../../../store/store.js'
import type { Episode, EpisodeEvent } from '../live-parts.js'
import { type ChatCursor, formatCursor, start } from './chat-cursor.js'

/** An event, and the id behind which a watcher resumes. */
export interface WatchedEvent {
  id: string
  event: ChatEvent
}

/** The state of a chat at one moment: a `ChatSync` as it leaves the server. */
export interface SyncPage {
  row: ChatRow
  lastSeq: number
  wasReset: boolean
  messages: readonly ChatMessage[]
  hasMore: boolean
  queue: readonly QueuedMessage[]
}

/** The last place in the history of a chat. */
type PlaceInChat = Pick<SyncPage, 'lastSeq'> & { row: Pick<ChatRow, 'historyVersion' | 'attempt'> }

/** The parts to follow: those of an episode behind `after`, at the server process `runner`. */
export interface FollowTarget {
  runner: string
  episode: Episode
  after: number
}

/** See the top of this file. */
export class WatcherState {
  readonly #chatId: string
  readonly #isResumed: boolean
  #cursor: ChatCursor
  /** the row behind the last event, undefined before the first whole sync */
  #told: ChatRow | undefined
  /** the episode whose parts the watcher shows; undefined if that is not known */
  #preview: Pick<Episode, 'historyVersion' | 'attempt'> | undefined
  /** no part of the preview's episode follows */
  #isPreviewOver = false
  /** of the last sync, if it was whole */
  #runner: string | null = null

  /** @param resumed the place of the last event that the watcher has; undefined for a new watcher */
  constructor(chatId: string, resumed: ChatCursor | undefined) {
    this.#chatId = chatId
    this.#isResumed = resumed !== undefined
    this.#cursor = resumed ?? start
    // Without a part, the watcher may still show an older episode: the event in question was the last one.
    if (this.#cursor.partSeq > 0) this.#preview = this.#cursor
  }

  /** the place behind the last event */
  get cursor(): ChatCursor {
    return this.#cursor
  }

  /** Returns the first event. */
  begin(): WatchedEvent {
    return this.#event({ kind: 'watching' })
  }

  /** Returns whether the place may be one of this chat. A chat that was restored from a backup is behind some. */
  isPlaceIn({ row: { historyVersion, attempt }, lastSeq }: PlaceInChat): boolean {
    const own = this.#cursor
    if (own.seq > lastSeq) return false
    return own.historyVersion < historyVersion || (own.historyVersion === historyVersion && own.attempt <= attempt)
  }

  /**
   * Takes the state of the chat as read behind {@link cursor}: newer messages, the queue and the status in this order.
   * The queue and the status come with the last page of messages.
   */
  sync({ row, wasReset, messages, hasMore, queue }: SyncPage): WatchedEvent[] {
    const { historyVersion, attempt } = row
    const events: WatchedEvent[] = []
    if (wasReset) {
      this.#cursor = { ...start, historyVersion }
      this.#preview = undefined
      events.push(this.#event({ kind: 'history_reset' }))
    }
    const isSame = this.#preview?.historyVersion === historyVersion && this.#preview.attempt === attempt
    for (const message of messages) {
      // A watcher that resumes here without a part gets a reset of the preview.
      this.#cursor = isSame ? { ...this.#cursor, seq: message.seq } : { ...start, seq: message.seq, historyVersion }
      events.push(this.#event({ kind: 'message', message }))
    }
    if (!isSame) {
      this.#preview = { historyVersion, attempt }
      this.#isPreviewOver = false
      this.#cursor = { seq: this.#cursor.seq, historyVersion, attempt, partSeq: 0 }
      events.push(this.#event({ kind: 'preview_reset', historyVersion, attempt }))
    }
    const isAtRest = row.status === 'waiting' || row.status === 'error'
    if (isAtRest && !hasMore && this.#cursor.partSeq > 0) {
      // The parts of an attempt that came to rest in the same history become no message.
      this.#isPreviewOver = true
      this.#cursor = { ...this.#cursor, partSeq: 0 }
      events.push(this.#event({ kind: 'preview_reset', historyVersion, attempt }))
    }
    this.#runner = hasMore || isAtRest ? null : row.runner
    if (!hasMore) events.push(...this.#changes(row, queue))
    return events
  }

  /** Takes an event of an episode: the next part of the shown one, or its end. Returns undefined for all others. */
  part(episode: Episode, event: EpisodeEvent): WatchedEvent | undefined {
    const { historyVersion, attempt } = episode
    if (this.#isPreviewOver || !this.#shows(episode)) return undefined
    switch (event.kind) {
      case 'part':
        if (event.seq !== this.#cursor.partSeq + 1) return undefined
        this.#cursor = { ...this.#cursor, partSeq: event.seq }
        return this.#event({ kind: 'message_part', historyVersion, attempt, seq: event.seq, ...event.part })
      case 'cut':
        this.#isPreviewOver = true
        return this.#event({ kind: 'preview_cut', historyVersion, attempt })
      case 'ended':
        this.#isPreviewOver = true
        return undefined
    }
  }

  /** the parts to follow; undefined while the chat is at rest, and behind the last part */
  get target(): FollowTarget | undefined {
    const { historyVersion, attempt, partSeq } = this.#cursor
    // Attempts begin at 1: of a history that no call of the model has answered, there are no parts.
    if (this.#runner === null || this.#isPreviewOver || attempt === 0) return undefined
    return { runner: this.#runner, episode: { chatId: this.#chatId, historyVersion, attempt }, after: partSeq }
  }

  #shows({ historyVersion, attempt }: Episode): boolean {
    return this.#preview?.historyVersion === historyVersion && this.#preview.attempt === attempt
  }

  /** A new watcher shows no wait and no error; a resumed one may show anything. */
  #changes(row: ChatRow, queue: readonly QueuedMessage[]): WatchedEvent[] {
    const told = this.#told
    this.#told = row
    const { status, archived, version, retry, lastError: error } = row
    const events: ChatEvent[] = []
    if (told?.queueVersion !== row.queueVersion) events.push({ kind: 'queue_update', queue: [...queue] })
    if (told?.status !== status || told.archived !== archived)
      events.push({ kind: 'status', status, archived, version })
    if (told ? !isSameJson(told.retry, retry) : this.#isResumed || retry) events.push({ kind: 'retry', retry })
    if (told ? !isSameJson(told.lastError, error) : this.#isResumed || error) events.push({ kind: 'error', error })
    return events.map(event => this.#event(event))
  }

  #event(event: ChatEvent): WatchedEvent {
    return { id: formatCursor(this.#chatId, this.#cursor), event }
  }
}

function isSameJson(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
