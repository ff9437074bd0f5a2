import { slug } from '../../../shared/contract/fields.js'
import type { BridgeDaemon } from '../daemon.js'
import { createHandlerFetch } from './handler-fetch.js'

/** The provider that a `fetch` calls, and the caller on whose key the requests are recorded. */
export interface BridgeFetchOptions {
  /** name of the provider that is called: the segment behind `/bridge/` */
  provider: string
  /** which part of this process calls, for instance `agents`: stands in the log, and decides nothing */
  source: string
  /**
   * the id of an API key (its part before the dash), on whose owner the requests are recorded. The daemon's connection to the control plane
   * needs the delegate capability; everything about the key is checked but its secret.
   */
  keyId: string
}

/**
 * A `fetch` for callers in the daemon's process, to be handed to an SDK: the daemon answers, without a socket and without a key's secret.
 *
 * URLs are the provider's own (`https://api.anthropic.com/v1/messages`); path and query are mounted under `/bridge/<provider>` unchanged and
 * the origin does not count. The provider's key is the daemon's: credentials in the request's headers are dropped, `X-Bridge-Token` too.
 * Aborting and cancelling end the exchange. An answer has to be read or cancelled.
 *
 * A call rejects with a TypeError, before anything runs, if `keyId` is missing.
 * @throws TypeError if `provider` cannot be a provider's name
 */
export function createBridgeFetch(
  daemon: Pick<BridgeDaemon, 'serve'>,
  { provider, source, keyId }: BridgeFetchOptions,
): typeof fetch {
  if (!slug.safeParse(provider).success) {
    throw new TypeError(`provider ${JSON.stringify(provider)} must be 1 to 32 characters of [a-z0-9-]`)
  }
  const handlerFetch = createHandlerFetch((request, response) => {
    request.url = `/bridge/${provider}${request.url}`
    return daemon.serve(request, response, { source, keyId })
  })
  return async (input, init) => {
    if (!keyId) throw new TypeError('keyId is missing: the id of the API key on whose owner requests are recorded')
    return handlerFetch(input, init)
  }
}
