import { type CloseReason, closeCodes } from '../../shared/rpc/duplex.js'
import { type ErrorCode, errorCodes, mayHaveRunOf, RpcError, transportError } from '../../shared/rpc/errors.js'
import type { CallFailure } from './call-observer.js'
import type { DataTransformer } from './transformer.js'
import { TRPCClientError } from './trpc-internals.js'

/** Returns the error for the caller of a failed call. */
export function failureError(failure: CallFailure, transformer: DataTransformer): TRPCClientError<never> {
  if ('local' in failure) return localError(failure.local)
  const error = remoteError(failure.remote, transformer)
  const data: unknown = error.data
  if (failure.sentBefore && mayHaveRunOf(error) === false && typeof data === 'object' && data !== null) {
    Reflect.set(data, 'mayHaveRun', true)
  }
  return error
}

/** Returns an error of this side in the shape of a server's error: `data.code`, `data.reason`, `data.mayHaveRun`. */
function localError(error: RpcError<string>): TRPCClientError<never> {
  const { number, status } = errorCodes[error.code]
  const data = {
    code: error.code,
    httpStatus: status,
    ...(error.reason !== undefined && { reason: error.reason }),
    ...(error.mayHaveRun !== undefined && { mayHaveRun: error.mayHaveRun }),
  }
  const shape = { code: number, message: error.message, data }
  return new TRPCClientError(error.message, { result: { error: shape as never }, cause: error }) // the type is the router's, see remoteError
}

/** Returns the error that the server sent. */
export function remoteError(encoded: unknown, transformer: DataTransformer): TRPCClientError<never> {
  let shape: unknown
  try {
    shape = transformer.deserialize(encoded)
  } catch (cause) {
    return localError(
      new RpcError('INTERNAL_SERVER_ERROR', 'the error of the server cannot be decoded', { mayHaveRun: true, cause }),
    )
  }
  if (typeof shape === 'object' && shape !== null && 'message' in shape && typeof shape.message === 'string') {
    // A server's formatter makes the shape; TRPCClientError has the shape of the router as its type, which is unknown
    // here.
    return new TRPCClientError(shape.message, { result: { error: shape as never } })
  }
  const problem = 'the server sent an error of an unknown shape'
  return localError(new RpcError('INTERNAL_SERVER_ERROR', problem, { mayHaveRun: true }))
}

/** Returns the error for an input that the transformer rejects; nothing was sent. */
export function notEncodable(cause: unknown): TRPCClientError<never> {
  if (cause instanceof RpcError) return localError(notSent(cause))
  const problem = cause instanceof Error ? cause.message : String(cause)
  return localError(
    transportError('not_encodable', `the input cannot be encoded: ${problem}`, { mayHaveRun: false, cause }),
  )
}

/**
 * Returns the error of a call that this side did not send.
 * @param mayHaveRun whether the call was sent on an earlier connection; without one the procedure has not run
 */
export function notSent({ code, message, reason, cause }: RpcError<string>, mayHaveRun = false): RpcError<string> {
  return new RpcError<string>(code, message, { reason, mayHaveRun, cause })
}

/** Returns the error of a query or mutation that the server ended like a subscription. */
export function noResponse(): TRPCClientError<never> {
  return localError(
    new RpcError('INTERNAL_SERVER_ERROR', 'the server ended the call without a response', { mayHaveRun: true }),
  )
}

/** Returns the error for a response that the transformer rejects. */
export function notDecodable(cause: unknown): TRPCClientError<never> {
  return localError(
    new RpcError('INTERNAL_SERVER_ERROR', 'the response cannot be decoded', { mayHaveRun: true, cause }),
  )
}

/** Returns the error of a call whose deadline has passed before the call, or is no time. */
export function noTimeError(path: string, timeoutMs: number): RpcError {
  return timeoutMs <= 0
    ? new RpcError('TIMEOUT', `${path}: its timeoutMs is ${timeoutMs}`, { mayHaveRun: false })
    : new RpcError('BAD_REQUEST', `${path}: timeoutMs must be a number of milliseconds`, { mayHaveRun: false })
}

/** Codes of calls on a connection that the server closed for good because of its client. */
const codesOfCloses: { readonly [closeCode: number]: ErrorCode } = {
  [closeCodes.unauthorized]: 'UNAUTHORIZED',
  [closeCodes.forbidden]: 'FORBIDDEN',
}

/** Returns the error of a call on a connection that was closed for good. */
export function closedError(close?: CloseReason, mayHaveRun = false): RpcError<string> {
  if (!close) return transportError('connection_closed', 'the connection is closed', { mayHaveRun })
  const message = `the connection is closed: ${close.message}`
  // Of a parked dial: another process may make the call.
  if (close.reason === 'draining') return transportError('draining', message, { mayHaveRun })
  const code = codesOfCloses[close.code]
  if (!code) return transportError('connection_closed', message, { mayHaveRun })
  return new RpcError<string>(code, message, { reason: close.reason, mayHaveRun })
}
