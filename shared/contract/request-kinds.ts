/** The kinds of requests, which a bridge writes into the `metadata` of an interception and of its prompt. */

/**
 * The key of an interception's `metadata` under which the kind of the request stands, as far as the client shows it.
 */
export const requestKindKey = 'request_kind'

/**
 * Kinds of requests that a client makes for itself: their prompts are no new words of the user. `subagent` and
 * `workflow` are the work of agents that the client's model started, `quota` and `prewarm` probes, `auxiliary` is
 * anything else.
 */
export const internalRequestKinds = [
  'title',
  'suggestion',
  'compaction',
  'subagent',
  'workflow',
  'auxiliary',
  'memory',
  'quota',
  'prewarm',
] as const

/** Returns whether a client makes requests of this kind for itself. */
export function isInternalRequestKind(kind: unknown): boolean {
  return internalRequestKinds.some(known => known === kind)
}
