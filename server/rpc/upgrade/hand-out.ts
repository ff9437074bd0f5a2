import { RpcError } from '../../../shared/rpc/errors.js'
import { closeOfRejection } from '../connection.js'
import type { CountedDuplex } from '../grouped-duplex.js'
import type { DuplexInfo, ReversedWebSocketsOptions } from './listener-options.js'

/**
 * Gives a duplex to the listener's user. Never rejects: an error of the user closes the duplex.
 * @param report keeps an error whose message is not for the peer
 */
export async function handOut(
  duplex: CountedDuplex,
  info: Omit<DuplexInfo<unknown>, 'signal'>,
  { onDuplex, onRejected }: ReversedWebSocketsOptions<unknown>,
  report: (thrown: unknown) => void,
): Promise<void> {
  try {
    await onDuplex(duplex, { ...info, signal: signalOf(duplex) })
  } catch (thrown) {
    const error = RpcError.from(thrown)
    if (error !== thrown) report(thrown)
    duplex.close(closeOfRejection(error))
    try {
      onRejected?.(error)
    } catch {
      // The client has its close, and no other observer is left.
    }
  }
}

/** Returns a signal that aborts when a duplex has closed. */
function signalOf({ closed }: CountedDuplex): AbortSignal {
  const lifetime = new AbortController()
  void closed.then(({ message }) => {
    const problem = `the connection closed: ${message}`
    lifetime.abort(new RpcError('CLIENT_CLOSED_REQUEST', problem, { reason: 'connection_lost' }))
  })
  return lifetime.signal
}
