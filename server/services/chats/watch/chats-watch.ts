/** Watching the list of chats. */
import type { ChatsEvent } from '../../../../shared/contract/chats.js'
import { chatLimits } from '../../../../shared/contract/limits.js'
import type { ChatRow, ChatStore } from '../../../store/store.js'
import { signals } from '../../signals.js'
import { shownChat } from '../shown-chat.js'
import { SharedReads } from './shared-reads.js'

/** Watches the lists of users. */
export interface ChatsWatch {
  /**
   * Yields `watching`, then each chat of a user, or of all, newest change first, and then each one that has changed. A
   * stream that begins anew has all chats again. Changes during a busy reader's work are one.
   */
  watchAll(
    input: { userId?: string | undefined },
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ChatsEvent, void, void>
}

/** Settings of {@link createChatsWatch}. */
export interface ChatsWatchOptions {
  store: Pick<ChatStore, 'listChats' | 'findChat' | 'onChatChange'>
  /** between two looks at the newest chats without a notification */
  pollMs?: number
}

/** Chats of a page: without their messages, some KiB each at most 70. */
const pageLength = 50
/** Changed chats that wait for a slow reader; with more of them the whole list is read. */
const maxChanged = 1_000

/** Creates {@link ChatsWatch}. */
export function createChatsWatch({ store, pollMs = chatLimits.pollMs }: ChatsWatchOptions): ChatsWatch {
  // A change of any chat wakes the watchers of all users; they share the read that says whose it is.
  const reads = new SharedReads<ChatRow | null>()
  const read = (id: string) => reads.read(id, async () => (await store.findChat(id))?.row ?? null)

  return {
    async *watchAll({ userId: ownerId }, signal) {
      /** chat → the version that the reader has */
      const told = new Map<string, number>()
      let changed = new Set<string>()
      let mustList = true

      function* news(rows: readonly ChatRow[]): Generator<ChatsEvent> {
        for (const row of rows) {
          if (told.get(row.id) === row.version) continue
          told.set(row.id, row.version)
          yield { kind: 'chat', chat: shownChat(row) }
        }
      }

      const subscribe = (listener: () => void) =>
        store.onChatChange(id => {
          if (id === null || changed.size >= maxChanged) mustList = true
          else changed.add(id)
          listener()
        })
      yield { kind: 'watching' }
      for await (const _ of signals(subscribe, signal, pollMs)) {
        const ids = changed
        changed = new Set()
        const isWhole = mustList
        mustList = false
        if (!isWhole && ids.size > 0) {
          for (const id of ids) {
            const row = await read(id)
            if (row && (ownerId === undefined || row.ownerId === ownerId)) yield* news([row])
          }
          continue
        }
        // In silence the newest chats are looked at, for a notification that was lost.
        for (let before: ChatRow | undefined; !signal?.aborted; ) {
          const rows = await store.listChats({ ownerId, before, limit: pageLength })
          yield* news(rows)
          before = rows.at(-1)
          if (!isWhole || !before) break
        }
      }
    },
  }
}
