import { v7 as uuidv7 } from 'uuid'
import type { z } from 'zod'
import type {
  User,
  usersCreateInput,
  usersDeleteInput,
  usersSetStatusInput,
} from '../../../shared/contract/admin/users.js'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import type { AuditedWrites, ShortIdStore, UserStore } from '../../store/store.js'
import { auditEntry } from '../audit-entry.js'
import { unknownRow } from '../unknown-row.js'
import { findUser } from './find-user.js'
import { createPurge, type Purge, type PurgeOptions } from './purge.js'

/** The users of the bridge. `actor` is the name of the calling identity, for the audit log. */
export interface UsersAdmin {
  /** @throws RpcError `CONFLICT` (name_taken) if an undeleted user has the name */
  create(input: z.output<typeof usersCreateInput>, actor: string): Promise<User>
  /** Returns all users, deleted users included, sorted by name. */
  list(): Promise<User[]>
  /** @throws RpcError `NOT_FOUND` (unknown_row) */
  setStatus(input: z.output<typeof usersSetStatusInput>, actor: string): Promise<User>
  /**
   * Marks a user as deleted; the records stay. A repeat by id changes nothing.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  delete(input: z.output<typeof usersDeleteInput>, actor: string): Promise<User>
  purge: Purge['purge']
}

export interface UsersAdminOptions extends PurgeOptions {
  store: UserStore & ShortIdStore & AuditedWrites & PurgeOptions['store']
}

export function createUsersAdmin(options: UsersAdminOptions): UsersAdmin {
  const { store } = options
  return {
    ...createPurge(options),
    async create({ username }, actor) {
      const user = await store.audited(
        tables => tables.createUser({ id: uuidv7(), username }),
        created => created && auditEntry(actor, 'users.create', created.id, { username }),
      )
      if (user) return user
      throw rpcError('name_taken', `another user has the name ${JSON.stringify(username)}`)
    },
    list: () => store.listUsers(),
    async setStatus({ user: ref, status }, actor) {
      const { id } = await findUser(store, ref)
      const user = await store.audited(
        tables => tables.setUserStatus(id, status),
        changed => changed && auditEntry(actor, 'users.setStatus', id, { status }),
      )
      return user ?? throwUnknown(ref)
    },
    async delete({ user: ref }, actor) {
      const { id } = await findUser(store, ref)
      const user = await store.audited(
        tables => tables.deleteUser(id),
        deleted => deleted && auditEntry(actor, 'users.delete', id),
      )
      return user ?? throwUnknown(ref)
    },
  }
}

function throwUnknown(ref: string): never {
  throw unknownRow('user', ref)
}
