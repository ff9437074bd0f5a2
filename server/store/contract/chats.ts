/** The questions about chats: rows under a lease, their messages and their queues. */
import type { Chat, ChatMessage, ChatUsage, FinishReason, MessageRole } from '../../../shared/contract/chats.js'

/** A chat as stored. `username` is null for an unknown user. */
export interface ChatRow extends Omit<Chat, 'queue'> {
  /** the version of the last change of the queue */
  queueVersion: number
  /** the process of the agent on which commands of the open step were started */
  agentInstance: string | null
  /** the server process that runs the chat */
  runner: string | null
  fence: number
  leaseUntil: Date | null
}

/** A chat to add; `contentHash` is that of the whole input. */
export type NewChat = Pick<
  ChatRow,
  'id' | 'ownerId' | 'agentId' | 'provider' | 'model' | 'api' | 'title' | 'system' | 'cwd'
> & { contentHash: Uint8Array }

/** A message as stored. `parts` is JSON text with the parts' internal fields; `finishReason` only of responses. */
export interface MessageRow extends Omit<ChatMessage, 'parts'> {
  parts: string
}

/** A message of the queue; `parts` is JSON text. */
export interface QueuedRow {
  id: string
  parts: string
  createdAt: Date
}

/** A message to append; the store gives the sequence number and the time. */
export type NewMessage = Pick<MessageRow, 'id' | 'role' | 'parts'> & {
  contentHash: Uint8Array
  usage?: ChatUsage | null
  interceptionId?: string | null
  finishReason?: FinishReason | null
  interrupted?: boolean
}

/** The fields of a chat that a change may set. */
export type ChatPatch = Partial<
  Pick<ChatRow, 'status' | 'archived' | 'title' | 'retry' | 'lastError' | 'attempt' | 'agentInstance' | 'leaseUntil'>
> & {
  /** a change of the history: sets `historyVersion` to the new version, `attempt` to 0, `retry` to null */
  historyChanged?: boolean
  /** ends the run: no runner, no lease */
  released?: boolean
}

/** How much a chat holds. */
export interface ChatSize {
  messages: number
  bytes: number
}

/** The fate of a user's message with an id. */
export type KnownMessage =
  | { place: 'history'; role: MessageRole; seq: number; contentHash: Uint8Array; isDeleted: boolean }
  | { place: 'queue'; contentHash: Uint8Array }
  | { place: 'dequeued'; contentHash: Uint8Array }

/**
 * One change of a chat, in a transaction that holds the chat's row. `row` is the chat as locked. Reads and writes go
 * through these functions only. A change that calls none of the writes leaves the chat as it is; otherwise the
 * version rises by one, which stands in all rows that the change has written.
 */
export interface ChatChange {
  readonly row: ChatRow
  /** the database's clock, at the beginning of the transaction */
  readonly now: Date
  /** the fate of an id in this chat; null for an unknown one */
  find(messageId: string): Promise<KnownMessage | null>
  /** the messages that are not deleted, and the bytes of their parts */
  readonly size: ChatSize
  /** the messages behind the last user's message, that one included, in order */
  lastTurn(): Promise<MessageRow[]>
  queue(): Promise<QueuedRow[]>
  append(message: NewMessage): Promise<number>
  /** Deletes the message `seq` and all behind it. The ids stay known, with their hashes; the parts go. */
  deleteFrom(seq: number): Promise<void>
  enqueue(message: Pick<NewMessage, 'id' | 'parts' | 'contentHash'>): Promise<void>
  /** Takes a message out of the queue; its id stays known as `dequeued`, unless the message is `promoted`. */
  dequeue(id: string, promoted?: boolean): Promise<(QueuedRow & { contentHash: Uint8Array }) | null>
  /** Empties the queue; the ids stay known as `dequeued`. */
  clearQueue(): Promise<void>
  /** Moves a message of the queue to its head. */
  promote(id: string): Promise<void>
  update(patch: ChatPatch): Promise<void>
}

/** A state of a chat at one moment, for watchers. */
export interface ChatSync {
  row: ChatRow
  /** the number of the last message that the chat has had, deleted ones included; 0 before the first */
  lastSeq: number
  /** a message at or below `afterSeq` was deleted at a version above `historyVersion` */
  wasReset: boolean
  /** messages behind `afterSeq` (all, if `wasReset`), as many as fit into a page */
  messages: MessageRow[]
  /** further messages follow */
  hasMore: boolean
  queue: QueuedRow[]
}

/** A chat that a server runs, at a number of its lease. */
export interface RunningChat {
  id: string
  fence: number
}

/** Chats. Times of leases are by the database's clock. */
export interface ChatStore {
  /**
   * Adds a chat at rest, and runs its first change in the same transaction, under the rules of `changeChat`. Null if
   * the id is taken, or the owner does not exist or is deleted.
   */
  createChat(chat: NewChat, begin?: (chat: ChatChange) => Promise<unknown>): Promise<ChatRow | null>
  /** the chat, and the SHA-256 of the content with which it was created */
  findChat(id: string): Promise<{ row: ChatRow; contentHash: Uint8Array } | null>
  /**
   * Runs a change, alone on its chat, and returns its result and the row behind it; null for an unknown chat. The
   * change may run several times, when the transaction is repeated: it must have no effect but through `chat`, and must
   * ask nothing else of this store. A change that throws changes nothing. A transaction whose commit is uncertain is
   * not repeated.
   */
  changeChat<T>(id: string, change: (chat: ChatChange) => Promise<T>): Promise<{ result: T; row: ChatRow } | null>
  /** Newest change first, by `updatedAt` and then id. */
  listChats(query: {
    ownerId?: string | undefined
    archived?: boolean | undefined
    before?: { updatedAt: Date; id: string } | undefined
    limit: number
  }): Promise<ChatRow[]>
  /** Messages behind a sequence number, in order, at most `limit` and `maxBytes`, but one at least. */
  listMessages(query: {
    chatId: string
    after: number
    limit: number
    maxBytes: number
  }): Promise<{ messages: MessageRow[]; hasMore: boolean }>
  /** Returns id → version of the stored chats among the ids: a look whether something was missed. */
  readChatVersions(ids: readonly string[]): Promise<Map<string, number>>
  /** All messages that are not deleted and the row, from one snapshot; null for an unknown chat. */
  readHistory(id: string): Promise<{ row: ChatRow; messages: MessageRow[] } | null>
  /** Reads the state of a chat from one snapshot; null for an unknown chat. */
  syncChat(query: {
    id: string
    afterSeq: number
    historyVersion: number
    limit: number
    maxBytes: number
  }): Promise<ChatSync | null>
  /**
   * Takes running and interrupting chats whose lease has ended or that have none: a new runner, the next fence, a new
   * lease. The version rises, as it does for the two below; `updatedAt` stays.
   */
  acquireChats(query: { runner: string; limit: number; leaseMs: number }): Promise<ChatRow[]>
  /**
   * Takes one running or interrupting chat, whatever its lease; null if it is at rest or unknown. With
   * `interruptedAt` only a chat that is interrupting at this history version.
   */
  takeChat(query: {
    id: string
    runner: string
    leaseMs: number
    interruptedAt?: number | undefined
  }): Promise<ChatRow | null>
  /**
   * Renews the leases of chats whose runner and fence are the given ones, and returns the rows of all given chats as
   * they are then; a missing one was erased.
   */
  renewChats(query: { runner: string; chats: readonly RunningChat[]; leaseMs: number }): Promise<ChatRow[]>
  /** Ends the leases of chats whose runner and fence are the given ones, so that any server may take them at once. */
  releaseChats(query: { runner: string; chats: readonly RunningChat[] }): Promise<void>
  /** Erases chats that were last changed before a time and are at rest. Returns their number. */
  eraseOldChats(query: { updatedBefore: Date; limit: number }): Promise<number>
  /** Erases chats of one user. Returns their number. */
  eraseChatsOf(query: { userId: string; limit: number }): Promise<number>
  /**
   * Calls back with the id of each chat that has changed, in any process; null: any may have changed. A renewal of a
   * lease is no change.
   */
  onChatChange(listener: (chatId: string | null) => void): () => void
}
