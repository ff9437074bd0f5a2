import { RpcError } from '../../shared/rpc/errors.js'
import { type AnyRouter, getErrorShape, getTRPCErrorFromUnknown, TRPCError } from './trpc-internals.js'

/** tRPC's error for whatever was thrown; an RpcError, or an error that wraps one, keeps its code and message. Never throws. */
export function toTrpcError(thrown: unknown): TRPCError {
  try {
    return readError(thrown)
  } catch {
    // A proxy, or an object with a getter: nothing of it is kept, as whoever looks at it would fail again.
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

/** An error may be the answer to many calls. */
const wrapped = new WeakMap<RpcError, TRPCError>()

/**
 * The error as the peer gets it: what the router's formatter makes of it, with the request's id and, for an RpcError, its reason and
 * `mayHaveRun`, and without the message and the stack of an error that nobody wrote for the peer.
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
  if (data && 'stack' in data) delete data.stack
  if (data && error.cause instanceof RpcError) {
    if (error.cause.reason !== undefined) data.reason = error.cause.reason
    if (error.cause.mayHaveRun !== undefined) data.mayHaveRun = error.cause.mayHaveRun
  }
  // tRPC gives the message of whatever a procedure threw as the message of its own error, as a text if it was none.
  const unwritten =
    error.code === 'INTERNAL_SERVER_ERROR' && error.cause !== undefined && !(error.cause instanceof RpcError)
  const message = unwritten && shape.message === String(error.cause?.message) ? 'internal server error' : shape.message
  return { ...shape, message, ...(data && { data }) }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
