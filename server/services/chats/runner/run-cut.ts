/** The reasons for which a run is cut short, and what is stored then. */
import type { ChatError } from '../../../../shared/contract/chats.js'
import type { RunMessage } from '../run-changes.js'
import { droppedCalls, type History, type MessageCalls } from './history.js'
import type { PartialResponse } from './partial-response.js'

/** The reason for which the work of a run is cut short. */
export type Cut =
  /** another server has the chat, or its history is another one: nothing is committed */
  | { kind: 'lost' }
  /** the turn is interrupted */
  | { kind: 'interrupt' }
  /** the owner may not use the gateway any more */
  | { kind: 'forbidden' }
  /** the server closes and does not wait any longer */
  | { kind: 'abandoned' }

/** Returns the failure of a turn whose owner may not use the gateway any more. */
export function notAllowed(message: string): ChatError {
  return { reason: 'not_allowed', message }
}

/** Returns the message of a response that was cut; none without a part. */
export function cutMessage(partial: PartialResponse, interceptionId: string | null): RunMessage[] {
  const parts = partial.parts()
  return parts.length === 0 ? [] : [{ role: 'assistant', parts, interceptionId, interrupted: true }]
}

/**
 * Returns the calls whose commands end with a cut. Another server goes on with the commands of a step that this one has
 * lost, unless nobody needs them any more.
 */
export async function callsToEnd(
  open: MessageCalls,
  cut: Cut | undefined,
  readHistory: () => Promise<History | null>,
): Promise<MessageCalls['calls']> {
  if (cut?.kind === 'abandoned') return []
  if (cut?.kind !== 'lost') return open.calls
  return droppedCalls((await readHistory())?.messages ?? [], open)
}
