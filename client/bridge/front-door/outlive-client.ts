import { ExchangeAborted } from '../wire/exchange-aborted.js'

/**
 * Returns a signal for the call to a provider, which ends with the exchange. A client may leave when it has a whole
 * response, before the provider has sent the usage; the call then goes on for `drainMs`.
 * @param isWhole returns whether the client has received a whole response
 */
export function outliveClient(
  exchange: AbortSignal,
  drainMs: number,
  isWhole: () => boolean,
): { signal: AbortSignal; dispose(): void } {
  const call = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const onAbort = (): void => {
    const reason: unknown = exchange.reason
    const end = () => call.abort(reason)
    if (reason instanceof ExchangeAborted && reason.by === 'client' && isWhole()) timer = setTimeout(end, drainMs)
    else end()
  }
  if (exchange.aborted) onAbort()
  else exchange.addEventListener('abort', onAbort, { once: true })
  return {
    signal: call.signal,
    dispose() {
      clearTimeout(timer)
      exchange.removeEventListener('abort', onAbort)
    },
  }
}
