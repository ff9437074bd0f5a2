/** The breaches that the judge finds. */

/**
 * What a round must not show:
 * - `missing` an acknowledged message is not there, or a turn has no response
 * - `twice` a message, a response of the provider or a run of a command is there twice
 * - `invented` a message that nobody has written, or taken back text
 * - `truncated` a response that is not whole, and not marked as interrupted
 * - `history` the model was asked with another history than is stored before its response, or messages are not in the
 *   order in which they were sent and promoted
 * - `unended` a chat is not at rest, a failed turn, a tool call without its result
 * - `stale` a watcher was shown parts that are not of the stored response, or out of order
 * - `unseen` a watcher has another list of messages than the database
 * - `repeated` the model was asked with one history more often than strikes and broken responses explain
 * - `orphan` a command of a turn that has ended runs on
 * - `uncounted` a response without its interception, or with another number of tokens
 * - `log` a process logged a fault, or ended as it must not; `stuck` a round came to no end
 */
export type OffenceKind =
  | 'missing'
  | 'twice'
  | 'invented'
  | 'truncated'
  | 'history'
  | 'unended'
  | 'stale'
  | 'unseen'
  | 'repeated'
  | 'uncounted'
  | 'orphan'
  | 'log'
  | 'stuck'

/** One breach of the promise. */
export interface Offence {
  kind: OffenceKind
  tag: string
  detail: string
}
