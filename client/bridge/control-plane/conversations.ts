import type { HiddenTurn, PinnedTool } from '../../../shared/contract/conversations.js'
import type { ControlPlane, ControlPlaneCallOptions } from './control-plane.js'

/** A conversation with injected tools, whole. */
export interface OpenedConversation {
  /** null if none are pinned */
  tools: PinnedTool[] | null
  /** in the order in which they were kept */
  turns: HiddenTurn[]
}

/**
 * Reads all pages of a conversation; an unknown conversation is empty.
 * @throws the error of the control plane
 */
export async function openConversation(
  { conversations }: Pick<ControlPlane, 'conversations'>,
  place: { userId: string; key: string },
  options?: ControlPlaneCallOptions,
): Promise<OpenedConversation> {
  const { userId, key } = place
  const { tools, turns, next } = await conversations.open.query({ userId, key }, options)
  for (let after = next; after !== null; ) {
    const page = await conversations.open.query({ userId, key, after }, options)
    turns.push(...page.turns)
    // A page that goes nowhere would be asked for without end.
    after = page.next !== null && page.next > after ? page.next : null
  }
  return { tools, turns }
}
