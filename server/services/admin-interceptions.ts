import { z } from 'zod'
import type {
  InterceptionDetail,
  InterceptionsPage,
  interceptionsGetInput,
  interceptionsListInput,
} from '../../shared/admin.js'
import { RpcError } from '../../shared/errors.js'
import { time, uuid } from '../../shared/fields.js'
import type { InterceptionQuery, RecordStore, UserStore } from '../store/store.js'
import { findUser } from './admin-users.js'
import { unknownRow } from './unknown-row.js'

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
  store: Pick<RecordStore, 'listInterceptions' | 'getInterception'> & Pick<UserStore, 'findUser'>
}

export function createInterceptionsAdmin({ store }: InterceptionsAdminOptions): InterceptionsAdmin {
  return {
    async list({ limit, cursor, user, ...filters }) {
      const before = cursor === undefined ? undefined : decodeCursor(cursor)
      const initiatorId = user === undefined ? undefined : await initiatorOf(user)
      // One row more than asked for says whether there is another page.
      const rows = await store.listInterceptions({ ...filters, before, initiatorId, limit: limit + 1 })
      const interceptions = rows.slice(0, limit)
      const last = rows.length > limit ? interceptions.at(-1) : undefined
      return { interceptions, nextCursor: last ? encodeCursor(last) : null }
    },
    async get({ id }) {
      const detail = await store.getInterception(id)
      if (detail) return detail
      throw unknownRow('interception', id)
    },
  }

  async function initiatorOf(idOrUsername: string): Promise<string> {
    if (uuid.safeParse(idOrUsername).success) return idOrUsername
    return (await findUser(store, idOrUsername)).id
  }
}

type Position = NonNullable<InterceptionQuery['before']>

const cursorFormat = z.tuple([z.number().int(), uuid])

function encodeCursor({ startedAt, id }: Position): string {
  return Buffer.from(JSON.stringify([startedAt.getTime(), id])).toString('base64url')
}

function decodeCursor(cursor: string): Position {
  try {
    const [milliseconds, id] = cursorFormat.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')))
    return { startedAt: time.parse(new Date(milliseconds)), id }
  } catch {
    throw new RpcError('BAD_REQUEST', 'cursor: is not the nextCursor of a page')
  }
}
