/** Conversations that are remembered; a map of that size takes some MiB. */
const maxConversations = 20_000

/**
 * Remembers the key of each conversation: providers tie some blocks of a conversation to an account. The conversation
 * that was not used for the longest time is forgotten first, and begins again with the first key.
 */
export class ConversationKeys {
  /** digest → id of the key, in the order of the last use */
  readonly #keys = new Map<string, string>()
  readonly #max: number

  constructor(max = maxConversations) {
    this.#max = max
  }

  get size(): number {
    return this.#keys.size
  }

  /** Returns the id of the key that a conversation used last. */
  keyOf(conversation: string): string | undefined {
    return this.#keys.get(conversation)
  }

  /** Notes that a key works for a conversation. */
  used(conversation: string, keyId: string): void {
    this.#keys.delete(conversation)
    this.#keys.set(conversation, keyId)
    const [oldest] = this.#keys.keys()
    if (this.#keys.size > this.#max && oldest !== undefined) this.#keys.delete(oldest)
  }
}
