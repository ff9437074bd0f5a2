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
  const walkable = walkableMiddlewares(router, call)
  if (!walkable) return invokeByTrpc(router, context, call)
  const { list, meta } = walkable
  return step({ list, meta, call }, 0, context, undefined, () => call.getRawInput()).then(dataOf)
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

/** The parts of one call that are the same for all its middlewares. */
interface Walk {
  readonly list: readonly Middleware[]
  readonly meta: unknown
  readonly call: Invocation
}

/** Resolves with the result of a middleware and all that follow it; never rejects. */
function step(
  walk: Walk,
  index: number,
  ctx: unknown,
  input: unknown,
  getRawInput: () => Promise<unknown>,
): Promise<Result> {
  try {
    const middleware = walk.list[index]
    if (!middleware) throw new Error('the last middleware called next()')
    const options = new MiddlewareOptions(walk, index, ctx, input, getRawInput)
    // tRPC's own validators read fields only.
    if (!('_type' in middleware)) Object.defineProperty(options, 'signal', ownSignal)
    // A middleware of any program may return another thenable, or no promise.
    return Promise.resolve(middleware(options)).then(undefined, failure)
  } catch (cause) {
    return Promise.resolve(failure(cause))
  }
}

function failure(cause: unknown): Result {
  return { ok: false, error: getTRPCErrorFromUnknown(cause) }
}

function dataOf(result: Result | undefined): unknown {
  if (!result) {
    throw new TRPCError({
      code: 'INTERNAL_SERVER_ERROR',
      message: 'No result from middlewares - did you forget to `return next()`?',
    })
  }
  if (!result.ok) throw result.error
  return result.data
}

const callOf = Symbol('call')

/**
 * The argument of a middleware or resolver. A class, and one accessor for all calls: an object literal with `get
 * signal()` makes a hidden class for each call, which costs 1 µs and survives until the next full collection.
 */
class MiddlewareOptions {
  readonly ctx: unknown
  readonly input: unknown
  readonly path: string
  readonly type: Invocation['type']
  readonly batchIndex: number
  readonly getRawInput: () => Promise<unknown>
  readonly meta: unknown
  readonly next: (options?: NextOptions) => Promise<Result>
  /** No private field: a proxy of these options, or an object that inherits from them, has the signal too. */
  readonly [callOf]: Invocation

  constructor(walk: Walk, index: number, ctx: unknown, input: unknown, getRawInput: () => Promise<unknown>) {
    const { call } = walk
    this.ctx = ctx
    this.input = input
    this.path = call.path
    this.type = call.type
    this.batchIndex = call.batchIndex
    this.getRawInput = getRawInput
    this.meta = walk.meta
    this.next = options => {
      const nextCtx = options?.ctx ? { ...(ctx as object), ...options.ctx } : ctx // tRPC's contexts are objects
      const nextInput = options && 'input' in options ? options.input : input
      return step(walk, index + 1, nextCtx, nextInput, options?.getRawInput ?? getRawInput)
    }
    this[callOf] = call
  }

  get signal(): AbortSignal {
    return this[callOf].signal
  }
}

/** The accessor as an own property, so that `{ ...options }` has the signal too. */
const ownSignal: PropertyDescriptor = {
  ...Object.getOwnPropertyDescriptor(MiddlewareOptions.prototype, 'signal'),
  enumerable: true,
}
