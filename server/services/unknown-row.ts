import { rpcError } from '../../shared/contract/error-reasons.js'
import type { RpcError } from '../../shared/rpc/errors.js'
import { shownText } from './shown-text.js'

/** Creates the error for the id or name of no row: `NOT_FOUND` (unknown_row). */
export function unknownRow(noun: string, idOrName: string): RpcError<'unknown_row'> {
  return rpcError('unknown_row', `no ${noun} has the id or name ${shownText(idOrName)}`)
}
