import { RpcError } from '../../shared/rpc/errors.js'
import { shownText } from './shown-text.js'

/** The error for an id or a name that no row has, `NOT_FOUND` (unknown_row). */
export function unknownRow(noun: string, idOrName: string): RpcError {
  return new RpcError('NOT_FOUND', `no ${noun} has the id or name ${shownText(idOrName)}`, { reason: 'unknown_row' })
}
