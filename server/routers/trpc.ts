/**
 * tRPC, initialised once: context, transformer, error format, and the procedures of the three roles.
 *
 * A role is checked where the check costs least. Procedures of admins and users have a middleware, which rejects other
 * roles before the input is even read. A middleware costs 1 to 2 µs a call (tRPC copies the call's options for each),
 * which is a fifth of an in-memory call; so the daemons' procedures are checked by {@link forDaemon} inside the
 * resolver, after the input. Neither has a side effect before the check.
 */
import { initTRPC, tracked } from '@trpc/server'
import type { z } from 'zod'
import { RpcError } from '../../shared/rpc/errors.js'
import { transformer } from '../../shared/rpc/json/transformer.js'
import { checkInput } from '../services/check-input.js'
import type { Identity } from '../services/identity.js'
import type { Services } from '../services/services.js'
import { formatError } from './error-format.js'

/** The context of every procedure. */
export interface Context {
  identity: Identity
  services: Services
  /** stands in the error and in the server's log; undefined on a link that makes an id for each call */
  requestId?: string | undefined
}

const t = initTRPC.context<Context>().create({
  transformer,
  isDev: false, // a stack is never part of a response, whatever NODE_ENV says
  errorFormatter: formatError,
})

export const router = t.router

/** An item of a subscription that can be resumed behind the item's id. */
export const resumable = tracked

/** A procedure for daemons; only the resolver, made with {@link forDaemon}, checks the role. */
export const daemonProcedure = t.procedure

/**
 * A procedure for admins; the resolver is made with {@link forAdmin}. Any other identity gets `FORBIDDEN` before the
 * input is read, so that input errors reveal nothing.
 */
export const adminProcedure = t.procedure.use(({ ctx, next, path }) => {
  identityOf(ctx, 'admin', path)
  return next()
})

/**
 * A procedure for users; the resolver is made with {@link forUser}. Any other identity gets `FORBIDDEN` before the
 * input is read.
 */
export const userProcedure = t.procedure.use(({ ctx, next, path }) => {
  identityOf(ctx, 'user', path)
  return next()
})

/** A procedure for users, and for admins, who read all; the resolver is made with {@link forReader}. */
export const readerProcedure = t.procedure.use(({ ctx, next, path }) => {
  readerOf(ctx, path)
  return next()
})

/** tRPC's arguments of a resolver. The signal is made when a resolver reads it. */
interface ResolverOptions<I> {
  ctx: Context
  input: I
  path: string
  readonly signal: AbortSignal | undefined
}

type IdentityOf<R extends Identity['role']> = Extract<Identity, { role: R }>

type Resolver<I, O> = (options: ResolverOptions<I>) => O

/** A resolver of one role, with the services, the checked input, the identity, and the rest of tRPC's arguments. */
type RoleResolver<R extends Identity['role'], I, O> = (
  services: Services,
  input: I,
  identity: IdentityOf<R>,
  call: ResolverOptions<I>,
) => O

/** Creates a resolver that only daemons reach. Any other identity gets `FORBIDDEN`. */
export function forDaemon<I, O>(resolve: RoleResolver<'daemon', I, O>): Resolver<I, O> {
  return call => resolve(call.ctx.services, call.input, identityOf(call.ctx, 'daemon', call.path), call)
}

/** Creates a resolver that only admins reach. Any other identity gets `FORBIDDEN`. */
export function forAdmin<I, O>(resolve: RoleResolver<'admin', I, O>): Resolver<I, O> {
  return call => resolve(call.ctx.services, call.input, identityOf(call.ctx, 'admin', call.path), call)
}

/** Creates a resolver that only users reach. Any other identity gets `FORBIDDEN`. */
export function forUser<I, O>(resolve: RoleResolver<'user', I, O>): Resolver<I, O> {
  return call => resolve(call.ctx.services, call.input, identityOf(call.ctx, 'user', call.path), call)
}

/** Creates a resolver that users and admins reach. Any other identity gets `FORBIDDEN`. */
export function forReader<I, O>(resolve: RoleResolver<'user' | 'admin', I, O>): Resolver<I, O> {
  return call => resolve(call.ctx.services, call.input, readerOf(call.ctx, call.path), call)
}

function readerOf({ identity }: Context, path: string): IdentityOf<'user' | 'admin'> {
  if (identity.role === 'daemon') throw forbidden(identity, 'user', path)
  return identity
}

/** @throws RpcError `FORBIDDEN` if the identity has another role */
function identityOf<R extends Identity['role']>({ identity }: Context, role: R, path: string): IdentityOf<R> {
  if (identity.role !== role) throw forbidden(identity, role, path)
  return identity as IdentityOf<R> // checked on the line above
}

function forbidden({ role, name }: Identity, needed: Identity['role'], path: string): RpcError {
  return new RpcError('FORBIDDEN', `${path} needs the role ${needed}; ${JSON.stringify(name)} has the role ${role}`)
}

/** Wraps a schema as a procedure's input parser with readable errors: see {@link checkInput}. */
export function checked<S extends z.ZodType>(schema: S): CheckedInput<S> {
  return new CheckedInput(schema)
}

/** An input parser that shows its schema. */
export class CheckedInput<S extends z.ZodType> {
  /** types only: tRPC reads the input and output types here */
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
