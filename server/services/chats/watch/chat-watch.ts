/** Watching one chat: the durable messages, and the parts of the response that runs. */

import { rpcError } from '../../../../shared/contract/error-reasons.js'
import { chatLimits } from '../../../../shared/contract/limits.js'
import type { Logger } from '../../../../shared/values/log.js'
import type { ChatStore } from '../../../store/store.js'
import type { LivePartsOf } from '../live-parts.js'
import { shownMessage, shownQueued } from '../shown-chat.js'
import { ChatChanges } from './chat-changes.js'
import { type ChatCursor, parseCursor, unknownEvent } from './chat-cursor.js'
import { PartFollower } from './part-follower.js'
import { SharedReads } from './shared-reads.js'
import { type SyncPage, type WatchedEvent, WatcherState } from './watcher-state.js'

/** Watches chats. */
export interface ChatWatch {
  /**
   * Yields the events of a chat, each with an id: messages as stored, whichever server stored them, and the parts of
   * the response that runs, whichever server runs it. The stream resumes behind an id at any server, also in the
   * middle of a response. A new stream begins with `watching` and the first message.
   *
   * The stream reads at the watcher's pace: a slow watcher holds a page of messages and one part, and delays nobody.
   * The caller has checked that the watcher may read the chat.
   * @throws RpcError `BAD_REQUEST` for an id that is none of this chat; `NOT_FOUND` (unknown_chat) if the chat is
   *   erased
   */
  watch(
    input: { chatId: string; lastEventId?: string | undefined },
    signal: AbortSignal | undefined,
  ): AsyncGenerator<WatchedEvent, void, void>
}

/** Settings of {@link createChatWatch}. */
export interface ChatWatchOptions {
  store: Pick<ChatStore, 'syncChat' | 'onChatChange' | 'readChatVersions'>
  /** the live parts of this server and of others */
  livePartsOf: LivePartsOf
  logger: Logger
  /** between two looks at the database without a notification */
  pollMs?: number
}

/** A page of a watcher: many small messages, or one of 3 MiB. */
const pageLength = 100
const pageBytes = 262_144

/** Creates {@link ChatWatch}. */
export function createChatWatch({
  store,
  livePartsOf,
  logger,
  pollMs = chatLimits.pollMs,
}: ChatWatchOptions): ChatWatch {
  const changes = new ChatChanges({ store, pollMs })
  const reads = new SharedReads<SyncPage | null>()

  function read(chatId: string, { seq, historyVersion }: ChatCursor): Promise<SyncPage | null> {
    return reads.read(`${chatId}.${seq}.${historyVersion}`, async () => {
      const query = { id: chatId, afterSeq: seq, historyVersion, limit: pageLength, maxBytes: pageBytes }
      const sync = await store.syncChat(query)
      return sync && { ...sync, messages: sync.messages.map(shownMessage), queue: sync.queue.map(shownQueued) }
    })
  }

  return {
    async *watch({ chatId, lastEventId }, signal) {
      const state = new WatcherState(chatId, lastEventId === undefined ? undefined : parseCursor(chatId, lastEventId))
      let mustSync = true
      let isFirst = true
      let wake = () => {}
      const follower = new PartFollower({ livePartsOf, logger, wake: () => wake() })
      const stop = changes.subscribe(chatId, () => {
        mustSync = true
        wake()
      })
      const onAbort = () => wake()
      signal?.addEventListener('abort', onAbort)
      try {
        while (!signal?.aborted) {
          if (mustSync) {
            mustSync = false
            const page = await read(chatId, state.cursor)
            if (!page) throw rpcError('unknown_chat', `no chat has the id ${chatId}`)
            if (isFirst) {
              if (lastEventId !== undefined && !state.isPlaceIn(page)) throw unknownEvent(chatId, lastEventId)
              isFirst = false
              yield state.begin()
            }
            yield* state.sync(page)
            mustSync ||= page.hasMore
            continue
          }
          follower.aim(state.target)
          const taken = follower.take()
          if (taken) {
            const event = state.part(taken.episode, taken.event)
            if (event) yield event
            continue
          }
          await new Promise<void>(resolve => {
            wake = resolve
          })
        }
      } finally {
        signal?.removeEventListener('abort', onAbort)
        stop()
        follower.stop()
      }
    },
  }
}
