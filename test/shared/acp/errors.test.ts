import { expect, test } from 'vitest'
import { acpError, acpRpcCodeOf, acpStatusOf } from '../../../shared/acp/errors.js'
import { RpcError } from '../../../shared/rpc/errors.js'

test.each([
  [acpError('batch_unsupported', ''), 501, -32_600],
  [acpError('parse_error', ''), 400, -32_700],
  [acpError('duplicate_id', ''), 400, -32_600],
  [acpError('not_acceptable', ''), 406, -32_603],
  [acpError('stream_taken', ''), 409, -32_603],
  [acpError('initialize_timeout', ''), 504, -32_603],
  [acpError('too_many_connections', ''), 503, -32_603],
  [new RpcError<string>('UNAUTHORIZED', '', { reason: 'key_missing' }), 401, -32_603],
  [new Error('a fault'), 500, -32_603],
])('%s has the status %d and the JSON-RPC code %d', (error, status, code) => {
  expect(acpStatusOf(error)).toBe(status)
  expect(acpRpcCodeOf(error)).toBe(code)
})
