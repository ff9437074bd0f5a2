/** Listens, with one error for a port or a host that a process cannot listen on. */
import type { Server } from 'node:net'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { RpcError } from '../../shared/rpc/errors.js'

/** An address to listen on. */
export interface ListenAddress {
  host: string
  /** 0: any free port */
  port: number
}

/**
 * Resolves once the server listens.
 * @throws RpcError `PRECONDITION_FAILED` (port_in_use) if another process has the port; `BAD_REQUEST` (config_invalid)
 *   for a host that is no address of this machine and for a port that this user may not have; any other error as Node
 *   throws it
 */
export async function listen(server: Server, address: ListenAddress): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error) => reject(listenError(error, address))
    server.once('error', onError)
    server.listen({ host: address.host, port: address.port }, () => {
      server.off('error', onError)
      resolve()
    })
  })
}

function listenError(error: Error, { host, port }: ListenAddress): Error {
  const code: unknown = Reflect.get(error, 'code')
  if (code === 'EADDRINUSE') {
    const place = `${host.includes(':') ? `[${host}]` : host}:${port}`
    const message = `another process listens on ${place}; choose another port with --port`
    return rpcError('port_in_use', message, { cause: error })
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    const cure = 'give an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them'
    return invalid(
      `--host ${JSON.stringify(host)}: this machine has no such address (${error.message}); ${cure}`,
      error,
    )
  }
  if (code === 'EACCES') {
    return invalid(`--port ${port}: not permitted (${error.message}); choose a port from 1024 on`, error)
  }
  return error
}

function invalid(message: string, cause: Error): RpcError {
  return new RpcError('BAD_REQUEST', message, { reason: 'config_invalid', cause })
}
