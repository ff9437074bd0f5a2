import { ExchangeAborted } from '../wire/exchange-aborted.js'

/**
 * Returns how long the call to a provider goes on when its exchange has aborted, in milliseconds. A client may leave
 * when it has a whole response, before the provider has sent the usage; the call then goes on for `drainMs`.
 * @param isWhole whether the client has received a whole response
 */
export function timeBehindClient(exchange: AbortSignal, drainMs: number, isWhole: boolean): number {
  const reason: unknown = exchange.reason
  return isWhole && reason instanceof ExchangeAborted && reason.by === 'client' ? drainMs : 0
}
