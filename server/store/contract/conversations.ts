/** The questions about conversations with injected tools. */

/** A conversation of a user; the key is a SHA-256. */
export interface ConversationPlace {
  userId: string
  key: Uint8Array
}

/** JSON text, its size, and the SHA-256 that decides whether a repeat is the same. */
export interface StoredJson {
  text: string
  bytes: number
  /** objects and arrays */
  containers: number
  contentHash: Uint8Array
}

/** A page of a conversation, as JSON texts. */
export interface StoredConversationPage {
  tools: string | null
  turns: string[]
  /** number of the last turn so far; null on the last page */
  next: number | null
}

/**
 * Conversations of users that exist and are not deleted; null for any other user. A purge deletes the user first, and
 * waits for the writes of others, so nothing is stored behind it.
 */
export interface ConversationStore {
  /**
   * Reads the turns behind the turn `after`, or the tools and the first turns, as many as the limits allow; unknown
   * conversations are empty. Notes the use if the last note is from before `notedBefore`.
   */
  openConversation(
    place: ConversationPlace,
    query: { after?: number | undefined; maxBytes: number; maxContainers: number; at: Date; notedBefore: Date },
  ): Promise<StoredConversationPage | null>
  /**
   * Pins tools to a conversation that has none, or `replaces` those that it has. Returns the tools that it has then.
   * Safe to repeat.
   */
  pinTools(place: ConversationPlace, tools: StoredJson, at: Date, replaces?: boolean): Promise<string | null>
  /**
   * Adds a turn behind the others; the oldest ones go if the conversation would have more turns or bytes than the
   * limits. Safe to repeat: `kept` for the same id with the same content, `differs` with other content.
   */
  keepTurn(
    place: ConversationPlace,
    turn: StoredJson & { id: string },
    limits: { maxTurns: number; maxBytes: number },
    at: Date,
  ): Promise<'kept' | 'differs' | null>
  /** Returns whether the user has a conversation. */
  hasConversations(userId: string): Promise<boolean>
  /** Erases conversations that were last used before a time, the least used first. Returns their number. */
  eraseOldConversations(query: { usedBefore: Date; limit: number }): Promise<number>
  /** Erases conversations of one user. Returns their number. */
  eraseConversationsOf(query: { userId: string; limit: number }): Promise<number>
}
