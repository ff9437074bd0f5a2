import { type RpcError, transportError } from '../../shared/rpc/errors.js'

/**
 * Returns the URL of a dial: batches are always accepted, and `connectionParams` are announced if there are any.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for a URL that is none of a WebSocket
 */
export function dialUrl(url: string | URL, announcesParams: boolean): URL {
  const target = checkUrl(url)
  target.searchParams.set('batch', '1')
  if (announcesParams) target.searchParams.set('connectionParams', '1')
  return target
}

function checkUrl(url: string | URL): URL {
  if (!URL.canParse(String(url))) throw invalidUrl('it cannot be parsed')
  const target = new URL(url)
  if (target.protocol !== 'ws:' && target.protocol !== 'wss:') throw invalidUrl('it must begin with ws:// or wss://')
  if (target.username !== '' || target.password !== '') throw invalidUrl('credentials belong into a header')
  if (target.hash !== '') throw invalidUrl('it must not have a fragment')
  return target
}

/** The URL itself is left out, because a URL may hold secrets. */
function invalidUrl(problem: string): RpcError {
  return transportError('config_invalid', `not a URL for a WebSocket: ${problem}`)
}
