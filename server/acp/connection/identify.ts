import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { AcpIdentity, AcpSettings } from '../options.js'

/**
 * Returns the identity of a request.
 * @param lasting emits `close` when the client has left
 * @throws RpcError of the application; any other error as it is
 */
export async function identify<I extends AcpIdentity>(
  request: IncomingMessage,
  lasting: EventEmitter,
  { authenticate }: Pick<AcpSettings<I>, 'authenticate'>,
): Promise<I> {
  // Without `authenticate` there is one user, and the application asked for no more.
  if (!authenticate) return { userId: '' } as I
  const lifetime = new AbortController()
  const onClose = (): void => lifetime.abort(new RpcError('CLIENT_CLOSED_REQUEST', 'the client has left'))
  lasting.once('close', onClose)
  try {
    const { authorization } = request.headers
    return await authenticate({ request, authorization, signal: lifetime.signal })
  } finally {
    lasting.off('close', onClose)
  }
}
