import type { z } from 'zod'
import type {
  Interception,
  InterceptionDetail,
  InterceptionsPage,
  interceptionsGetInput,
  interceptionsListInput,
} from '../../../../shared/contract/admin/interceptions.js'
import { isShortId } from '../../../../shared/values/short-id.js'
import type { InterceptionStore } from '../../../store/store.js'
import { unknownRow } from '../../unknown-row.js'
import { initiatorOf, type UserFinder } from '../find-user.js'
import { pageOf } from '../pages.js'
import { idOfShortId } from '../short-ids.js'

/** Reads the records. */
export interface InterceptionsAdmin {
  /**
   * Returns one page, newest first by `startedAt`, then id. A user's id also finds the records of a user who does not
   * exist.
   * @throws RpcError `BAD_REQUEST` if the cursor is not the `nextCursor` of a page; `NOT_FOUND` (unknown_row) if no
   *   user has the name
   */
  list(input: z.output<typeof interceptionsListInput>): Promise<InterceptionsPage>
  /**
   * Returns an interception, by its id or the short form of the id, with all its records and its thread.
   * @throws RpcError `NOT_FOUND` (unknown_row); `BAD_REQUEST` (ambiguous_id) if several interceptions have the short
   *   form
   */
  get(input: z.output<typeof interceptionsGetInput>): Promise<InterceptionDetail>
}

export interface InterceptionsAdminOptions {
  store: InterceptionStore & UserFinder
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
    async get({ id: given }) {
      const place = 'interceptions'
      const id = isShortId(given) ? await idOfShortId(store, { text: given, place, noun: place }) : given
      const detail = id === undefined ? null : await store.getInterception(id)
      if (detail) return detail
      throw unknownRow('interception', given)
    },
  }
}
