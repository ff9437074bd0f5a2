import { slug } from '../../../shared/contract/fields.js'
import type { BridgeDaemon } from '../daemon.js'
import type { InProcessCaller } from '../front-door/credentials.js'
import { createHandlerFetch } from './handler-fetch.js'

/** Options of {@link createBridgeFetch}. */
export interface BridgeFetchOptions extends Pick<InProcessCaller, 'sessionId' | 'onInterception' | 'onRejection'> {
  /** name of the called provider: the segment behind `/bridge/` */
  provider: string
  /** the part of this process that calls, for instance `agents`; logged, decides nothing */
  source: string
  /**
   * id of an API key (its part before the dash); requests are recorded for the owner of the key. The daemon's
   * connection to the control plane needs the delegate capability; every check of the key is made but that of its
   * secret
   */
  keyId: string
}

/**
 * Returns a `fetch` for callers in the daemon's process, to be handed to an SDK. The daemon responds without a socket
 * and without the secret of a key.
 *
 * URLs are the provider's own (`https://api.anthropic.com/v1/messages`); path and query are mounted under
 * `/bridge/<provider>` unchanged and the origin does not count. The daemon adds the provider's key and drops
 * credentials in the request's headers, `X-Bridge-Token` too. Aborting the signal or cancelling the body ends the
 * exchange. A response has to be read or cancelled.
 *
 * A call without a `keyId` rejects with a TypeError before any work.
 * @throws TypeError if `provider` cannot be a provider's name
 */
export function createBridgeFetch(
  daemon: Pick<BridgeDaemon, 'serve'>,
  { provider, ...caller }: BridgeFetchOptions,
): typeof fetch {
  if (!slug.safeParse(provider).success) {
    throw new TypeError(`provider ${JSON.stringify(provider)} must be 1 to 32 characters of [a-z0-9-]`)
  }
  const handlerFetch = createHandlerFetch((request, response) => {
    request.url = `/bridge/${provider}${request.url}`
    return daemon.serve(request, response, caller)
  })
  return async (input, init) => {
    if (!caller.keyId)
      throw new TypeError('keyId is missing: the id of the API key on whose owner requests are recorded')
    return handlerFetch(input, init)
  }
}
