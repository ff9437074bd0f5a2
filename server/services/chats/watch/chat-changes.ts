/** Notifications of watched chats, from one listener and one poll of this process. */
import type { ChatStore } from '../../../store/store.js'

/** Settings of {@link ChatChanges}. */
export interface ChatChangesOptions {
  store: Pick<ChatStore, 'onChatChange' | 'readChatVersions'>
  /** between two looks for changes without a notification */
  pollMs: number
}

/** The watchers of one chat. */
interface Watched {
  listeners: Set<() => void>
  /** of the last poll; undefined before it, null for a chat that is gone */
  polled: number | null | undefined
}

/**
 * Calls back when a chat may have changed. A notification is a hint that may be lost: all versions are read in one
 * statement now and then. Listens and polls only while a chat is watched.
 */
export class ChatChanges {
  readonly #options: ChatChangesOptions
  readonly #chats = new Map<string, Watched>()
  #stop: (() => void) | undefined
  #isPolling = false

  constructor(options: ChatChangesOptions) {
    this.#options = options
  }

  /** Calls back after each change of a chat, and whenever one may have been missed. Returns the end of the calls. */
  subscribe(chatId: string, listener: () => void): () => void {
    const watched = this.#chats.get(chatId) ?? { listeners: new Set(), polled: undefined }
    this.#chats.set(chatId, watched)
    // The wrapper is distinct for each call, so one listener may be there twice.
    const call = () => listener()
    watched.listeners.add(call)
    this.#stop ??= this.#start()
    return () => {
      watched.listeners.delete(call)
      if (watched.listeners.size === 0 && this.#chats.get(chatId) === watched) this.#chats.delete(chatId)
      if (this.#chats.size > 0) return
      this.#stop?.()
      this.#stop = undefined
    }
  }

  #start(): () => void {
    const { store, pollMs } = this.#options
    const stop = store.onChatChange(chatId => {
      for (const watched of chatId === null ? [...this.#chats.values()] : [this.#chats.get(chatId)]) wake(watched)
    })
    const timer = setInterval(() => void this.#poll(), pollMs)
    return () => {
      clearInterval(timer)
      stop()
    }
  }

  async #poll(): Promise<void> {
    if (this.#isPolling) return
    this.#isPolling = true
    try {
      const versions = await this.#options.store.readChatVersions([...this.#chats.keys()])
      for (const [chatId, watched] of [...this.#chats]) {
        const version = versions.get(chatId) ?? null
        if (watched.polled === version) continue
        watched.polled = version
        wake(watched)
      }
    } catch {
      // The next poll comes soon, and a watcher that reads itself reports the failure.
    } finally {
      this.#isPolling = false
    }
  }
}

function wake(watched: Watched | undefined): void {
  for (const listener of [...(watched?.listeners ?? [])]) listener()
}
