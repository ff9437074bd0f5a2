/** Which phases a strike has hit, by what the exchanges show afterwards. */
import type { Exchange } from './exchanges.js'
import type { Phase, Strike } from './strikes.js'

/** Returns the phases in which a strike has found its victims and the requests that pass through them. */
export function hitsOf(strike: Strike, exchanges: readonly Exchange[]): Set<Phase> {
  const hits = new Set<Phase>()
  const names = new Set(strike.victims.map(({ name }) => name))
  const isCentral = strike.victims.some(({ role }) => role !== 'daemon')
  for (const { name, state, wasReady, runStartedAt } of strike.victims) {
    if (state === 'starting') hits.add(wasReady ? 'recovery' : 'first start')
    if (state === 'stopping') hits.add('stopping')
    const isReplayed = ({ bridge, askedAt, committedAt = 0 }: Exchange) =>
      bridge === name && askedAt < runStartedAt && committedAt > strike.at
    if (exchanges.some(isReplayed)) hits.add('recovery')
  }
  for (const exchange of exchanges) {
    const isOwn = names.has(exchange.bridge)
    if (!isOwn && !isCentral) continue
    const phase = phaseOf(exchange, strike.at, isOwn)
    if (phase) hits.add(phase)
  }
  return hits
}

/** The phase of a request at a time; undefined if it was not under way. */
function phaseOf(exchange: Exchange, at: number, isBridgeKilled: boolean): Phase | undefined {
  const { askedAt, calledAt, lastSentAt, acknowledgedAt, settledAt, committedAt } = exchange
  if (askedAt > at || exchange.outcome === 'unreachable') return undefined
  const isBefore = (time: number | undefined) => time !== undefined && time <= at
  if (acknowledgedAt !== undefined) {
    // Bytes of a killed process that arrive after its death were on their way before.
    const isAcknowledged = isBefore(acknowledgedAt) || (isBridgeKilled && isBefore(lastSentAt))
    if (isAcknowledged) return isBefore(committedAt) ? undefined : 'committing'
  }
  if (isBefore(settledAt)) return undefined
  if (isBefore(lastSentAt)) return 'appending'
  return isBefore(calledAt[0]) ? 'streaming' : 'beginning'
}
