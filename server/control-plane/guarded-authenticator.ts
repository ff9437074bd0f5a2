import { createHash } from 'node:crypto'
import { errorReasonOf } from '../../shared/contract/error-reasons.js'
import { errorCodeOf, RpcError } from '../../shared/rpc/errors.js'
import { createAddressReader } from '../../shared/values/client-address.js'
import { guessDelayMs, KeyGuesses } from '../../shared/values/key-guesses.js'
import { KnownKeys } from '../../shared/values/known-keys.js'
import type { Logger } from '../../shared/values/log.js'
import { RejectionLog } from '../../shared/values/rejection-log.js'
import type { Credentials } from '../rpc/upgrade/listener-options.js'

/** Shorter than the handshake of a WebSocket may take: a guess gets its rejection, and not a timeout that passes. */
const maxDelayMs = 5_000

/**
 * Bounds the guesses of one address at an authenticator, before or after the upgrade, and logs each rejection with the
 * address.
 * @param authenticate throws an RpcError with the reason of a rejection
 * @param trustedProxies addresses and networks of proxies whose `X-Forwarded-For` counts
 * @throws the error of `net.BlockList` for an invalid proxy; the returned function throws the error of `authenticate`,
 *   or `TOO_MANY_REQUESTS` without a look at the credentials
 */
export function guardAuthenticator<I>(
  authenticate: (credentials: Credentials) => Promise<I>,
  { trustedProxies, logger }: { trustedProxies: readonly string[]; logger: Logger },
): (credentials: Credentials) => Promise<I> {
  const readAddress = createAddressReader(trustedProxies)
  const guesses = new KeyGuesses({ maxDelayMs: Math.min(maxDelayMs, guessDelayMs(trustedProxies)) })
  const known = new KnownKeys()
  const log = new RejectionLog(logger)

  return async credentials => {
    const { authorization = '', request, signal } = credentials
    const address = readAddress(request)
    const hash = createHash('sha256').update(authorization).digest('base64')
    const guess = known.has(hash) ? 'known' : await guesses.begin(address ?? '', signal)
    if (!guess) {
      const error = new RpcError('TOO_MANY_REQUESTS', 'too many keys from this address were wrong; try again later')
      if (log.admits(address)) logger.info({ code: error.code, address }, 'a connection was rejected')
      throw error
    }
    try {
      const identity = await authenticate(credentials)
      known.add(hash)
      return identity
    } catch (error) {
      known.delete(hash)
      const reason = errorReasonOf(error)
      // Any other error is a fault, and says nothing about the key.
      if (reason !== undefined && log.admits(address)) {
        logger.info({ code: errorCodeOf(error), reason, address }, 'a connection was rejected')
      }
      if (reason === 'key_invalid' && guess !== 'known') await guess.reject(signal)
      throw error
    } finally {
      if (guess !== 'known') guess.release()
    }
  }
}
