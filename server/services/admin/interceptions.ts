import type { z } from 'zod'
import type {
  Interception,
  InterceptionDetail,
  InterceptionsPage,
  interceptionsGetInput,
  interceptionsListInput,
} from '../../../shared/contract/admin.js'
import type { InterceptionStore, UserStore } from '../../store/store.js'
import { unknownRow } from '../unknown-row.js'
import { pageOf } from './pages.js'
import { initiatorOf } from './users.js'

/** Reading what was recorded. */
export interface InterceptionsAdmin {
  /**
   * One page, newest first by `startedAt`, then id. A user's id also finds the records of a user who does not exist.
   * @throws RpcError `BAD_REQUEST` if the cursor is none of ours; `NOT_FOUND` (unknown_row) if no user has the name
   */
  list(input: z.output<typeof interceptionsListInput>): Promise<InterceptionsPage>
  /** @throws RpcError `NOT_FOUND` (unknown_row) */
  get(input: z.output<typeof interceptionsGetInput>): Promise<InterceptionDetail>
}

export interface InterceptionsAdminOptions {
  store: InterceptionStore & Pick<UserStore, 'findUser'>
}

export function createInterceptionsAdmin({ store }: InterceptionsAdminOptions): InterceptionsAdmin {
  return {
    async list({ limit, cursor, user, ...filters }) {
      const initiatorId = user === undefined ? undefined : await initiatorOf(store, user)
      const { rows, nextCursor } = await pageOf<Interception>({
        limit,
        cursor,
        positionOf: ({ startedAt, id }) => ({ time: startedAt, id }),
        read: (before, count) =>
          store.listInterceptions({
            ...filters,
            before: before && { startedAt: before.time, id: before.id },
            initiatorId,
            limit: count,
          }),
      })
      return { interceptions: rows, nextCursor }
    },
    async get({ id }) {
      const detail = await store.getInterception(id)
      if (detail) return detail
      throw unknownRow('interception', id)
    },
  }
}
