/** Ids of a watcher's events: places in the stored history and in the live parts of a chat. */
import { chatLimits } from '../../../../shared/contract/limits.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { shortIdOf } from '../../../../shared/values/short-id.js'

/**
 * A place in the events of a chat, behind which any server resumes.
 * - `seq` of the last message, 0 before the first
 * - `historyVersion` deletions at or below this version are known
 * - `attempt`, `partSeq` the attempt whose parts are shown, and the last one of them
 */
export interface ChatCursor {
  seq: number
  historyVersion: number
  attempt: number
  partSeq: number
}

/** The place before all events. */
export const start: ChatCursor = { seq: 0, historyVersion: 0, attempt: 0, partSeq: 0 }

/** Returns the id of a place: its four numbers, and the short id of the chat, so that an id of another one is found. */
export function formatCursor(chatId: string, { seq, historyVersion, attempt, partSeq }: ChatCursor): string {
  return `${seq}.${historyVersion}.${attempt}.${partSeq}.${shortIdOf(chatId)}`
}

const pattern = /^(\d{1,10})\.(\d{1,10})\.(\d{1,10})\.(\d{1,10})\.([0-9a-f]{12})$/

/**
 * Reads what {@link formatCursor} has written.
 * @throws RpcError `BAD_REQUEST` for another text, and for an id of another chat
 */
export function parseCursor(chatId: string, id: string): ChatCursor {
  const [, seq, historyVersion, attempt, partSeq, chat] = pattern.exec(id) ?? []
  if (chat !== shortIdOf(chatId)) throw unknownEvent(chatId, id)
  const numbers = [Number(seq), Number(historyVersion), Number(attempt), Number(partSeq)] as const
  // The database takes no larger number.
  if (Math.max(...numbers) > chatLimits.maxSeq) throw unknownEvent(chatId, id)
  const [a, b, c, d] = numbers
  return { seq: a, historyVersion: b, attempt: c, partSeq: d }
}

/** Returns the rejection of an id that no event of a chat has. */
export function unknownEvent(chatId: string, id: string): RpcError {
  return new RpcError('BAD_REQUEST', `lastEventId: ${JSON.stringify(id)} is no event of chat ${chatId}`)
}
