import { RpcError } from '../../shared/rpc/errors.js'
import { type AnyRouter, getErrorShape, getTRPCErrorFromUnknown, TRPCError } from './trpc-internals.js'

/**
 * Converts any thrown value to tRPC's error; an RpcError, or an error that wraps an RpcError, keeps code and message.
 * Never throws.
 */
export function toTrpcError(thrown: unknown): TRPCError {
  try {
    return readError(thrown)
  } catch {
    // A proxy, or an object with a getter: nothing of the value is kept, as the next read would fail again.
    const cause = new Error('what was thrown cannot be read: looking at it throws')
    return new TRPCError({ code: 'INTERNAL_SERVER_ERROR', cause })
  }
}

function readError(thrown: unknown): TRPCError {
  const own =
    thrown instanceof RpcError
      ? thrown
      : thrown instanceof Error && thrown.cause instanceof RpcError
        ? thrown.cause
        : undefined
  if (!own) return getTRPCErrorFromUnknown(thrown)
  const known = wrapped.get(own)
  if (known) return known
  const error = new TRPCError({ code: own.code, message: own.message, cause: own })
  wrapped.set(own, error)
  return error
}

/** One error may be the response to many calls. */
const wrapped = new WeakMap<RpcError, TRPCError>()

/**
 * Returns the error for the peer: the result of the router's formatter, with the request's id and, for an RpcError,
 * reason and `mayHaveRun`, and without the message and the stack of an internal error.
 */
export function errorShape(
  router: AnyRouter,
  error: TRPCError,
  context: unknown,
  call: { type: 'query' | 'mutation' | 'subscription'; path: string; input?: unknown } | undefined,
  requestId: string,
): unknown {
  const shape: unknown = getErrorShape({
    config: router._def._config,
    error,
    type: call?.type ?? 'unknown',
    path: call?.path,
    input: call?.input,
    ctx: context,
  })
  if (!isObject(shape)) return shape
  const data: Record<string, unknown> | undefined = isObject(shape.data) ? { ...shape.data, requestId } : undefined
  // The error of a connection without a context: none of its calls has started.
  if (data && !call) data.mayHaveRun = false
  if (data && 'stack' in data) delete data.stack
  if (data && error.cause instanceof RpcError) {
    if (error.cause.reason !== undefined) data.reason = error.cause.reason
    if (error.cause.mayHaveRun !== undefined) data.mayHaveRun = error.cause.mayHaveRun
  }
  // tRPC copies the message of a procedure's error to its own error, and the text of any other thrown value.
  const unwritten =
    error.code === 'INTERNAL_SERVER_ERROR' && error.cause !== undefined && !(error.cause instanceof RpcError)
  const message = unwritten && shape.message === String(error.cause?.message) ? 'internal server error' : shape.message
  return { ...shape, message, ...(data && { data }) }
}

/** Returns whether a procedure gave up because of its signal. */
export function isAbort(thrown: unknown): boolean {
  try {
    if (!(thrown instanceof Error)) return false
    const cause = thrown.cause instanceof Error ? thrown.cause : thrown
    return cause.name === 'AbortError' || cause instanceof RpcError
  } catch {
    return false // an error that throws while it is read
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
