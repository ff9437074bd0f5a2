/** What each side of a round has seen, for the judge. */
import type { ChatEvent, ChatMessage, ChatStatus } from '../../../shared/contract/chats.js'
import type { ModelCall } from './provider.js'

/** The fate of a message that a writer has sent. */
export interface SentAccount {
  id: string
  text: string
  /** `sending`: no response came, so the message may be there; `gone`: taken back by an edit or by `clearQueue` */
  state: 'sending' | 'acknowledged' | 'gone'
}

/** One chat, as its writer knows it. */
export interface ChatAccount {
  id: string
  tag: string
  sent: SentAccount[]
  /** the writer has interrupted a turn, so that a message may stay without a response */
  wasInterrupted: boolean
}

/** The events that one watcher of a chat was shown, on whichever replica. */
export interface WatchAccount {
  chatId: string
  events: { id: string; event: ChatEvent; replica: string }[]
}

/** A chat as the database has it at the end. */
export interface StoredChat {
  status: ChatStatus
  lastError: string | null
  queueLength: number
  messages: ChatMessage[]
}

/** All accounts of a round. */
export interface Accounts {
  chats: readonly ChatAccount[]
  calls: readonly ModelCall[]
  /** when replicas were killed or stopped, in ms of `performance.now()` */
  strikes: readonly number[]
  /** tool call ids in the order in which commands began */
  runs: readonly string[]
  watches: readonly WatchAccount[]
  stored: ReadonlyMap<string, StoredChat>
  /** ids of the recorded interceptions, and the output tokens of each */
  interceptions: ReadonlyMap<string, number>
}
