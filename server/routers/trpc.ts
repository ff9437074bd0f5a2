/**
 * tRPC, initialised once: context, transformer, error format, and the procedures of the two roles.
 *
 * A role is checked where it costs least. Admin procedures have a middleware, which refuses a daemon before its input is even read.
 * A middleware costs 1 to 2 µs a call (tRPC copies the call's options for each), which is a fifth of an in-memory call; so the daemons'
 * procedures are checked by {@link forDaemon} inside the resolver, after the input. Neither has a side effect before the check.
 */
import { initTRPC, tracked } from '@trpc/server'
import type { z } from 'zod'
import { type ErrorData, errorCodes, RpcError } from '../../shared/rpc/errors.js'
import { transformer } from '../../shared/rpc/transformer.js'
import { checkInput } from '../services/check-input.js'
import type { Identity } from '../services/identity.js'
import type { Services } from '../services/services.js'

/** What every procedure gets. */
export interface Context {
  identity: Identity
  services: Services
  /** stands in the error and in the server's log; a link that makes its own id for each call leaves it out */
  requestId?: string | undefined
}

/** `data` of an error, as every client of this service sees it. */
export interface ShapeData extends ErrorData {
  httpStatus: number
  path?: string
}

const t = initTRPC.context<Context>().create({
  transformer,
  isDev: false, // a stack is never part of an answer, whatever NODE_ENV says
  errorFormatter({ error, path, ctx }) {
    const { code, reason, message, mayHaveRun } = RpcError.from(error)
    const { number, status } = errorCodes[code]
    const data: ShapeData = { code, httpStatus: status }
    if (path !== undefined) data.path = path
    if (reason !== undefined) data.reason = reason
    if (ctx?.requestId !== undefined) data.requestId = ctx.requestId
    if (mayHaveRun !== undefined) data.mayHaveRun = mayHaveRun
    return { code: number, message, data }
  },
})

export const router = t.router

/** An item of a subscription that can be resumed behind its id. */
export const resumable = tracked

/** A procedure for daemons; only its resolver, which is made with {@link forDaemon}, checks the role. */
export const daemonProcedure = t.procedure

/**
 * A procedure for admins; its resolver is made with {@link forAdmin}. Any other identity gets `FORBIDDEN` before its input is read, so
 * that input errors tell it nothing.
 */
export const adminProcedure = t.procedure.use(({ ctx, next, path }) => {
  identityOf(ctx, 'admin', path)
  return next()
})

/** What tRPC gives a resolver. The signal is made when it is read. */
interface ResolverOptions<I> {
  ctx: Context
  input: I
  path: string
  readonly signal: AbortSignal | undefined
}

type IdentityOf<R extends Identity['role']> = Extract<Identity, { role: R }>

type Resolver<I, O> = (options: ResolverOptions<I>) => O

/** A resolver of one role: it gets the services, the checked input, who calls, and the rest of what tRPC gives. */
type RoleResolver<R extends Identity['role'], I, O> = (
  services: Services,
  input: I,
  identity: IdentityOf<R>,
  call: ResolverOptions<I>,
) => O

/** Makes a resolver that only daemons reach. Any other identity gets `FORBIDDEN`. */
export function forDaemon<I, O>(resolve: RoleResolver<'daemon', I, O>): Resolver<I, O> {
  return call => resolve(call.ctx.services, call.input, identityOf(call.ctx, 'daemon', call.path), call)
}

/** Makes a resolver that only admins reach. Any other identity gets `FORBIDDEN`. */
export function forAdmin<I, O>(resolve: RoleResolver<'admin', I, O>): Resolver<I, O> {
  return call => resolve(call.ctx.services, call.input, identityOf(call.ctx, 'admin', call.path), call)
}

/** @throws RpcError `FORBIDDEN` if the identity has another role */
function identityOf<R extends Identity['role']>({ identity }: Context, role: R, path: string): IdentityOf<R> {
  if (identity.role !== role) throw forbidden(identity, role, path)
  return identity as IdentityOf<R> // checked on the line above
}

function forbidden({ role, name }: Identity, needed: Identity['role'], path: string): RpcError {
  return new RpcError('FORBIDDEN', `${path} needs the role ${needed}; ${JSON.stringify(name)} has the role ${role}`)
}

/** A schema as a procedure's input parser whose errors can be read by people: see {@link checkInput}. */
export function checked<S extends z.ZodType>(schema: S): CheckedInput<S> {
  return new CheckedInput(schema)
}

/** An input parser that shows its schema. */
export class CheckedInput<S extends z.ZodType> {
  /** types only: where tRPC reads what goes in and what comes out */
  declare readonly _input: z.input<S>
  declare readonly _output: z.output<S>
  /** the rules as zod has them, for descriptions of the contract */
  readonly schema: S

  constructor(schema: S) {
    this.schema = schema
  }

  parse(input: unknown): z.output<S> {
    return checkInput(this.schema, input)
  }
}
