/** Rows of chats as they leave the server. */
import type { Chat, ChatMessage, QueuedMessage } from '../../../shared/contract/chats.js'
import type { ChatRow, MessageRow, QueuedRow } from '../../store/store.js'
import { publicParts } from './public-parts.js'
import { partsOf } from './stored-parts.js'

/** Returns a chat without its queue. */
export function shownChat(row: ChatRow): Omit<Chat, 'queue'> {
  const {
    queueVersion: _,
    agentInstance: _instance,
    runner: _runner,
    fence: _fence,
    leaseUntil: _lease,
    ...shown
  } = row
  return shown
}

/** Returns a message without the internal fields of its parts. */
export function shownMessage({ parts, ...message }: MessageRow): ChatMessage {
  return { ...message, parts: publicParts(partsOf({ parts })) }
}

/** Returns a message of the queue. */
export function shownQueued({ id, parts, createdAt }: QueuedRow): QueuedMessage {
  return { id, parts: publicParts(partsOf({ parts })), createdAt }
}
