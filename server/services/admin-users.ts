import { v7 as uuidv7 } from 'uuid'
import type { z } from 'zod'
import type { User, usersCreateInput, usersDeleteInput, usersSetStatusInput } from '../../shared/admin.js'
import { RpcError } from '../../shared/errors.js'
import type { UserStore } from '../store/store.js'
import { unknownRow } from './unknown-row.js'

/** Who may use the bridge. */
export interface UsersAdmin {
  /** @throws RpcError `CONFLICT` (name_taken) if a user who is not deleted has the name */
  create(input: z.output<typeof usersCreateInput>): Promise<User>
  /** Deleted users too, sorted by name. */
  list(): Promise<User[]>
  /** @throws RpcError `NOT_FOUND` (unknown_row) */
  setStatus(input: z.output<typeof usersSetStatusInput>): Promise<User>
  /**
   * Marks a user as deleted; the records stay. A repeat by id changes nothing.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  delete(input: z.output<typeof usersDeleteInput>): Promise<User>
}

export interface UsersAdminOptions {
  store: UserStore
}

export function createUsersAdmin({ store }: UsersAdminOptions): UsersAdmin {
  return {
    async create({ username }) {
      const user = await store.createUser({ id: uuidv7(), username })
      if (user) return user
      throw new RpcError('CONFLICT', `another user has the name ${JSON.stringify(username)}`, { reason: 'name_taken' })
    },
    list: () => store.listUsers(),
    async setStatus({ user: ref, status }) {
      const { id } = await findUser(store, ref)
      return (await store.setUserStatus(id, status)) ?? throwUnknown(ref)
    },
    async delete({ user: ref }) {
      const { id } = await findUser(store, ref)
      return (await store.deleteUser(id)) ?? throwUnknown(ref)
    },
  }
}

/**
 * The user with this id, or with this name who is not deleted.
 * @throws RpcError `NOT_FOUND` (unknown_row)
 */
export async function findUser(store: Pick<UserStore, 'findUser'>, idOrUsername: string): Promise<User> {
  return (await store.findUser(idOrUsername)) ?? throwUnknown(idOrUsername)
}

function throwUnknown(idOrUsername: string): never {
  throw unknownRow('user', idOrUsername)
}
