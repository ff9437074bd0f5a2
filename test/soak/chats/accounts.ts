/** What each side of a round has seen, for the judge. */
import type { ChatEvent, ChatMessage, ChatStatus, SentMessage } from '../../../shared/contract/chats.js'
import type { ModelCall } from './provider.js'

/** The fate of a message that a writer has sent. */
export interface SentAccount {
  id: string
  text: string
  /** `sending`: no response came, so the message may be there; `gone`: replaced by an edit, or taken from the queue */
  state: 'sending' | 'acknowledged' | 'gone'
  /** the places that responses named, in their order; repeats of the message ask again */
  said: SentMessage['state'][]
  /** it was replaced by an edit, so a place in the history ends */
  isEdited?: boolean
  /** it waited in the queue behind a response that the queue was emptied */
  outlivedClear?: boolean
  /** ids of earlier messages that waited perhaps when this one was promoted */
  mayPrecede?: readonly string[]
  /** ids of messages that waited behind this one when its promotion was over */
  mustPrecede?: readonly string[]
}

/** A process that runs on the agent when all chats are at rest. */
export interface RunningProcess {
  id: string
  /** the chat */
  scope: string
}

/** One chat, as its writer knows it. */
export interface ChatAccount {
  id: string
  tag: string
  sent: SentAccount[]
  /** the writer has interrupted a turn, so that a message may stay without a response */
  wasInterrupted: boolean
  /** when turns with a command that ends only with its turn were ended, in ms of `performance.now()` */
  cuts: number[]
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
  /** tags of the chats of calls that the provider has rejected for good, which fails their turns */
  rejections: readonly string[]
  /** when replicas were killed or stopped, in ms of `performance.now()` */
  strikes: readonly number[]
  /** those of the strikes that were kills */
  kills: readonly number[]
  /** tool call ids in the order in which commands began */
  runs: readonly string[]
  /** what still runs on the agent when no chat has a turn */
  running: readonly RunningProcess[]
  watches: readonly WatchAccount[]
  stored: ReadonlyMap<string, StoredChat>
  /** ids of the recorded interceptions, and the output tokens of each */
  interceptions: ReadonlyMap<string, number>
}
