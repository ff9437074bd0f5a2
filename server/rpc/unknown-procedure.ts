import { RpcError } from '../../shared/rpc/errors.js'
import type { Invocation } from './invoke.js'
import { type AnyProcedure, type AnyRouter, TRPCError } from './trpc-internals.js'

/**
 * Returns the error of a failed call: for a procedure that does not exist tRPC's error with `mayHaveRun: false`, which
 * a procedure's own NOT_FOUND does not have; else the error that was thrown.
 */
export function withUnknownProcedure(
  router: AnyRouter,
  call: Pick<Invocation, 'path' | 'type'>,
  thrown: unknown,
): unknown {
  try {
    if (!(thrown instanceof TRPCError) || thrown.code !== 'NOT_FOUND') return thrown
  } catch {
    return thrown // an object that throws when it is looked at
  }
  // Procedures of a lazy router are here since the call asked for them.
  const procedures: Record<string, AnyProcedure> = router._def.procedures
  if (Object.hasOwn(procedures, call.path) && procedures[call.path]?._def.type === call.type) return thrown
  return new RpcError('NOT_FOUND', thrown.message, { mayHaveRun: false })
}
