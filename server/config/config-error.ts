import { RpcError } from '../../shared/rpc/errors.js'

/**
 * Makes the error of a setting that cannot be used.
 * @param message begins with the setting's source, `--port "x"` or `BRIDGE_PORT "x"`, and shows no secret
 */
export function invalid(message: string, cause?: unknown): RpcError {
  return new RpcError('BAD_REQUEST', message, { reason: 'config_invalid', cause })
}
