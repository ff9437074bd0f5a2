/** Where a database tells of changes, whichever process made them: PostgreSQL's NOTIFY, sent by triggers (migration 0003). */

/** What may change. Each is a channel of PostgreSQL, whose name has the prefix {@link channelPrefix}. */
export const changeTopics = ['providers', 'daemon_keys', 'records'] as const
export type ChangeTopic = (typeof changeTopics)[number]

export const channelPrefix = 'aibridge_'

/** The changes of one database. */
export interface Changes {
  /**
   * Calls `listener` after each commit that changed something, once for several that come together, and whenever a change may have been missed.
   * It must not throw. Returns what ends it.
   */
  onChange(topic: ChangeTopic, listener: () => void): () => void
  /** Resolves when nothing listens any more. */
  close(): Promise<void>
}

/** The listeners of a process. */
export class ChangeListeners {
  readonly #listeners = new Map<ChangeTopic, Set<() => void>>(changeTopics.map(topic => [topic, new Set()]))

  add(topic: ChangeTopic, listener: () => void): () => void {
    // A function of its own, so that one listener that is added twice is called twice, and taken away once.
    const call = () => listener()
    this.#listeners.get(topic)?.add(call)
    return () => this.#listeners.get(topic)?.delete(call)
  }

  /** Tells the listeners of a channel; other channels are none of ours. */
  tell(channel: string): void {
    const topic = changeTopics.find(name => channel === channelPrefix + name)
    for (const listener of [...((topic && this.#listeners.get(topic)) ?? [])]) listener()
  }

  /** Changes may have been missed. */
  tellAll(): void {
    for (const topic of changeTopics) this.tell(channelPrefix + topic)
  }
}
