import { errorReasonOf, RpcError } from '../../shared/rpc/errors.js'
import { type Address, invalid } from '../config/config.js'

/** What keeps a process from listening, with the flag that helps. */
export function listenError(error: unknown, { host, port }: Pick<Address, 'host' | 'port'>): unknown {
  if (!(error instanceof Error)) return error
  const code: unknown = Reflect.get(error, 'code')
  if (code === 'EADDRINUSE' || errorReasonOf(error) === 'port_in_use') {
    const message = `another process listens on ${host}:${port}; choose another port with --port`
    return new RpcError('PRECONDITION_FAILED', message, { reason: 'port_in_use', cause: error })
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return invalid(`--host ${JSON.stringify(host)}: no address of this machine (${error.message})`, error)
  }
  if (code === 'EACCES') return invalid(`--port ${port}: not permitted (${error.message})`, error)
  return error
}
