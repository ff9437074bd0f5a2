/**
 * Notification of changes, whichever process made the change: PostgreSQL's NOTIFY, sent by triggers (migration 0003).
 */

/** The topics of changes. Each topic is a channel of PostgreSQL, whose name has the prefix {@link channelPrefix}. */
export const changeTopics = [
  'chats',
  'providers',
  'prices',
  'daemon_keys',
  'user_keys',
  'agents',
  'records',
  'erasures',
  'erasure_confirmations',
] as const
export type ChangeTopic = (typeof changeTopics)[number]

export const channelPrefix = 'aibridge_'

/** Receives a notification of a topic. */
export type ChangeListener = (subject: string | null) => void

/** The changes of one database. */
export interface Changes {
  /**
   * Calls `listener` after each commit that changed something, once for several commits that come together, and
   * whenever a change may have been missed. A notification of the topic `chats` names the chat; `subject` is null if it
   * names none, and if anything may have changed. The listener must not throw. Returns the function that ends the
   * calls.
   */
  onChange(topic: ChangeTopic, listener: ChangeListener): () => void
  /** Resolves when every listener is gone. */
  close(): Promise<void>
}

/** The listeners of a process. */
export class ChangeListeners {
  readonly #listeners = new Map<ChangeTopic, Set<ChangeListener>>(changeTopics.map(topic => [topic, new Set()]))

  add(topic: ChangeTopic, listener: ChangeListener): () => void {
    // The wrapper is distinct for each call, so a listener that was added twice is called twice and removed once.
    const call: ChangeListener = subject => listener(subject)
    this.#listeners.get(topic)?.add(call)
    return () => this.#listeners.get(topic)?.delete(call)
  }

  /** Notifies the listeners of a channel and ignores channels of other programs. An empty payload names no subject. */
  notify(channel: string, payload = ''): void {
    const topic = changeTopics.find(name => channel === channelPrefix + name)
    for (const listener of [...((topic && this.#listeners.get(topic)) ?? [])]) listener(payload || null)
  }

  /** Notifies all listeners, because changes may have been missed. */
  notifyAll(): void {
    for (const topic of changeTopics) this.notify(channelPrefix + topic)
  }
}
