/** The comparison of the three accounts: provider's and clients' in the exchanges, and the database's. */
import type { Exchange } from './exchanges.js'
import type { Stored } from './stored.js'

/**
 * What a run must not show:
 * - `missing` a request that the provider was called for, or whose client has the last byte, lacks its interception
 * - `unended` an interception has no end; `incomplete` an acknowledged request lacks its prompt, its tokens or its own
 *   end
 * - `twice` an interception, a prompt or a count of tokens is there twice, or the provider was called twice
 * - `invented` records that no request stands behind, or more tokens than the provider billed
 * - `backwards` an end lies before its start
 * - `changed` a client received another body than the provider sent
 * - `log` a process logged a loss or a conflict, or ended as it must not; `stuck` a round came to no end
 */
export type OffenceKind =
  | 'missing'
  | 'unended'
  | 'incomplete'
  | 'twice'
  | 'invented'
  | 'backwards'
  | 'changed'
  | 'log'
  | 'stuck'

/** One breach of the promise. */
export interface Offence {
  kind: OffenceKind
  /** the tag of the request, or the id of the interception if there is no such request */
  tag: string
  detail: string
}

/** Options of {@link offencesOf}. */
export interface Leniency {
  /**
   * true: interceptions of requests for which no provider was called may be open. The control plane ends them when it
   * is sure that their daemon is gone, which takes minutes if the control plane was killed as well.
   */
  mayEndLater?: boolean
}

/** Compares the accounts of requests that have all been settled. */
export function offencesOf(
  exchanges: readonly Exchange[],
  stored: readonly Stored[],
  leniency: Leniency = {},
): Offence[] {
  const byTag = new Map<string, Stored[]>()
  for (const one of stored) {
    const tag = one.interception.clientSessionId ?? one.interception.id
    byTag.set(tag, [...(byTag.get(tag) ?? []), one])
  }
  const offences: Offence[] = []
  for (const exchange of exchanges) {
    const { tag } = exchange.plan
    const note: Note = (kind, detail) => offences.push({ kind, tag, detail })
    const own = byTag.get(tag) ?? []
    byTag.delete(tag)
    checkExchange(exchange, own, note)
    for (const one of own) checkStored(exchange, one, leniency, note)
  }
  for (const [tag, [first]] of byTag)
    offences.push({ kind: 'invented', tag, detail: `interception ${first?.interception.id} belongs to no request` })
  return offences
}

type Note = (kind: OffenceKind, detail: string) => void

function checkExchange(
  { plan, calledAt, acknowledgedAt, outcome }: Exchange,
  own: readonly Stored[],
  note: Note,
): void {
  if (outcome === 'changed') note('changed', `the client received another body of status ${plan.status}`)
  if (calledAt.length > 1) note('twice', `the provider was called ${calledAt.length} times`)
  if (own.length > 1) note('twice', `${own.length} interceptions`)
  if (own.length > 0) return
  if (acknowledgedAt !== undefined) note('missing', 'acknowledged, and no interception')
  else if (calledAt.length > 0) note('missing', 'the provider was called, and no interception')
}

function checkStored(
  { plan, calledAt, acknowledgedAt }: Exchange,
  { interception, promptUsages, tokenUsages }: Stored,
  { mayEndLater = false }: Leniency,
  note: Note,
): void {
  const { id, startedAt, endedAt, errorType, endedBy } = interception
  if (endedAt === null) {
    if (!mayEndLater || calledAt.length > 0) note('unended', `interception ${id} has no end`)
  } else if (endedAt < startedAt)
    note('backwards', `ended ${endedAt.toISOString()}, started ${startedAt.toISOString()}`)
  if (promptUsages.length > 1) note('twice', `${promptUsages.length} prompts`)
  for (const { prompt, msgId } of promptUsages) {
    if (prompt !== plan.prompt) note('invented', `prompt ${JSON.stringify(prompt)}`)
    if (msgId !== plan.msgId && msgId !== id) note('invented', `prompt of response ${msgId}`)
  }
  const sum = { input: 0, output: 0, records: 0, estimated: 0 }
  for (const { inputTokens, outputTokens, msgId, metadata } of tokenUsages) {
    if (msgId !== plan.msgId && msgId !== id) note('invented', `tokens of response ${msgId}`)
    sum.records++
    if (metadata?.estimated === true) {
      sum.estimated++
      continue
    }
    sum.input += inputTokens
    sum.output += outputTokens
  }
  const counted = `${sum.records} token records, ${sum.estimated} of them estimated, with ${sum.input} + ${sum.output} tokens`
  const billed = `the provider billed ${plan.inputTokens} + ${plan.outputTokens}`
  if (sum.records > 1) note('twice', counted)
  else if (calledAt.length === 0 && sum.records > 0) note('invented', `${counted}, and the provider was never called`)
  else if (sum.input > plan.inputTokens || sum.output > plan.outputTokens) note('invented', `${counted}; ${billed}`)
  if (acknowledgedAt === undefined) return
  if (promptUsages.length === 0) note('incomplete', 'acknowledged, and no prompt')
  if (sum.estimated > 0 || sum.input !== plan.inputTokens || sum.output !== plan.outputTokens)
    note('incomplete', `acknowledged, and ${counted}; ${billed}`)
  const isExpected = plan.status === 200 ? errorType === null : errorType === 'overloaded'
  if (endedAt !== null && !isExpected) note('incomplete', `acknowledged, and its end says ${errorType}`)
  if (endedBy !== null) note('incomplete', `acknowledged, and ended by ${endedBy}`)
}
