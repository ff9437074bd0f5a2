/**
 * The procedures of the signed-in person. An operator reads everybody's records by `admin`, a user the own ones by
 * `account`, with the same inputs and outputs.
 */
import type { ApiKey, CreatedApiKey } from '../../../shared/contract/admin/api-keys.js'
import { type Api, api } from './client.js'
import { currentSession } from './session.js'

type Admin = Api['admin']

/** Calls that take the options of a call. */
type Call<Input, Output> = (input: Input, options?: { signal?: AbortSignal }) => Promise<Output>

/** The reads that operators and users share. */
export type Reads = Pick<Admin, 'interceptions' | 'usage' | 'watch'>

/** A user's own keys. */
interface OwnKeys {
  list: { query: Call<undefined, ApiKey[]> }
  create: { mutate: Call<{ name?: string; expiresAt?: Date }, CreatedApiKey> }
  expire: { mutate: Call<{ id: string }, unknown> }
  revoke: { mutate: Call<{ id: string }, unknown> }
}

/** Returns the procedures of a user. */
function account(): Reads & { keys: OwnKeys } {
  const routers: unknown = api()
  return (routers as { account: Reads & { keys: OwnKeys } }).account // a router of servers with this page
}

/** Returns whether the signed-in person is an operator. */
export function isOperator(): boolean {
  return currentSession().role === 'admin'
}

/** Returns the reads of the signed-in person. */
export function reads(): Reads {
  return isOperator() ? api().admin : account()
}

/** Returns the procedures for the keys of the signed-in user. */
export function ownKeys(): OwnKeys {
  return account().keys
}
