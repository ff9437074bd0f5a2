import type { User } from '../../../shared/contract/admin/users.js'
import { uuid } from '../../../shared/contract/fields.js'
import type { ShortIdStore, UserStore } from '../../store/store.js'
import { unknownRow } from '../unknown-row.js'
import { idOfShortId } from './short-ids.js'

/** The part of a store that finds a user by id, name or short id. */
export type UserFinder = Pick<UserStore, 'findUser'> & ShortIdStore

/**
 * Finds a user by id, by the name of an undeleted user, or by the short form of an id.
 * @throws RpcError `NOT_FOUND` (unknown_row); `BAD_REQUEST` (ambiguous_id) if a short form stands for several users, by
 *   id or by name
 */
export async function findUser(store: UserFinder, ref: string): Promise<User> {
  const user = await findUserIfAny(store, ref)
  if (user) return user
  throw unknownRow('user', ref)
}

/** Finds a user as {@link findUser} does; undefined for an unknown user. */
export async function findUserIfAny(store: UserFinder, ref: string): Promise<User | undefined> {
  const user = await store.findUser(ref)
  const others = user ? [user.id] : []
  const id = await idOfShortId(store, { text: ref, place: 'users', noun: 'users', others })
  return user ?? (id === undefined ? undefined : ((await store.findUser(id)) ?? undefined))
}

/**
 * Returns the id of the user who made requests: an id as given, since records outlive users, else the id from
 * {@link findUser}.
 * @throws RpcError as {@link findUser}
 */
export async function initiatorOf(store: UserFinder, ref: string): Promise<string> {
  if (uuid.safeParse(ref).success) return ref
  return (await findUser(store, ref)).id
}
