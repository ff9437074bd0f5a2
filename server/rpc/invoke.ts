/**
 * Runs one procedure. tRPC's `callTRPCProcedure` spreads the call's options three times per middleware through a
 * down-levelled helper, which costs more than the whole rest of an in-memory call, and reads `signal` each time. This
 * file therefore walks the middlewares itself, with the same results (test/shared/rpc/equality.test.ts compares the
 * two); a procedure of an unknown shape goes through tRPC's own function.
 */
import {
  type AnyProcedure,
  type AnyRouter,
  callTRPCProcedure,
  getTRPCErrorFromUnknown,
  TRPCError,
} from './trpc-internals.js'

/** One call, as the connection passes it. */
export interface Invocation {
  readonly path: string
  readonly type: 'query' | 'mutation' | 'subscription'
  /** made at the first read: most procedures never read the signal */
  readonly signal: AbortSignal
  readonly batchIndex: number
  getRawInput(): Promise<unknown>
}

/** Resolves with the procedure's result, rejects with a TRPCError. */
export function invoke(router: AnyRouter, context: unknown, call: Invocation): Promise<unknown> {
  const middlewares = walkableMiddlewares(router, call)
  return middlewares ? walk(middlewares.list, middlewares.meta, context, call) : invokeByTrpc(router, context, call)
}

/** Runs the call through tRPC's public function. */
export function invokeByTrpc(router: AnyRouter, context: unknown, call: Invocation): Promise<unknown> {
  return callTRPCProcedure({
    router,
    path: call.path,
    type: call.type,
    ctx: context,
    getRawInput: () => call.getRawInput(),
    signal: call.signal,
    batchIndex: call.batchIndex,
  })
}

type Result = { ok: true; data: unknown } | { ok: false; error: unknown }
type Middleware = (options: object) => Promise<Result>
interface NextOptions {
  ctx?: object
  input?: unknown
  getRawInput?: () => Promise<unknown>
}

interface Walkable {
  list: readonly Middleware[]
  meta: unknown
}

/** Reads a procedure's internals, once per procedure; undefined for unexpected internals. */
const known = new WeakMap<object, Walkable | null>()

function walkableMiddlewares(router: AnyRouter, call: Invocation): Walkable | undefined {
  const procedures: Record<string, AnyProcedure> = router._def.procedures
  if (!Object.hasOwn(procedures, call.path)) return undefined // lazy routers, and paths that do not exist
  const procedure = procedures[call.path]
  if (typeof procedure !== 'function' || procedure._def.type !== call.type) return undefined
  let walkable = known.get(procedure)
  if (walkable === undefined) {
    walkable = inspect(procedure)
    known.set(procedure, walkable)
  }
  return walkable ?? undefined
}

function inspect(procedure: AnyProcedure): Walkable | null {
  const { middlewares, resolver, caller, meta } = procedure._def as { [name: string]: unknown } // internal, so each is checked
  if (caller !== undefined || typeof resolver !== 'function' || !Array.isArray(middlewares) || middlewares.length === 0)
    return null
  return middlewares.every(middleware => typeof middleware === 'function')
    ? { list: middlewares as Middleware[], meta }
    : null // checked on this line
}

async function walk(list: readonly Middleware[], meta: unknown, context: unknown, call: Invocation): Promise<unknown> {
  const result = await step(list, 0, meta, context, undefined, () => call.getRawInput(), call)
  if (!result) {
    throw new TRPCError({
      code: 'INTERNAL_SERVER_ERROR',
      message: 'No result from middlewares - did you forget to `return next()`?',
    })
  }
  if (!result.ok) throw result.error
  return result.data
}

async function step(
  list: readonly Middleware[],
  index: number,
  meta: unknown,
  ctx: unknown,
  input: unknown,
  getRawInput: () => Promise<unknown>,
  call: Invocation,
): Promise<Result> {
  try {
    const middleware = list[index]
    if (!middleware) throw new Error('the last middleware called next()')
    // `await` keeps a rejection inside this try.
    return await middleware({
      ctx,
      input,
      path: call.path,
      type: call.type,
      get signal() {
        return call.signal
      },
      batchIndex: call.batchIndex,
      getRawInput,
      meta,
      next(options?: NextOptions) {
        const nextCtx = options?.ctx ? { ...(ctx as object), ...options.ctx } : ctx // tRPC's contexts are objects
        const nextInput = options && 'input' in options ? options.input : input
        return step(list, index + 1, meta, nextCtx, nextInput, options?.getRawInput ?? getRawInput, call)
      },
    })
  } catch (cause) {
    return { ok: false, error: getTRPCErrorFromUnknown(cause) }
  }
}
