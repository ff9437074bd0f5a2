import type { z } from 'zod'
import type { AuditPage, auditListInput } from '../../../shared/contract/admin/audit.js'
import { uuid } from '../../../shared/contract/fields.js'
import type { AuditRow, AuditStore, ShortIdStore, UserStore } from '../../store/store.js'
import { pageOf } from './pages.js'
import { idOfShortId } from './short-ids.js'

/** Reads the audit log. Every write of the admin services adds an entry in the transaction of the write. */
export interface AuditAdmin {
  /**
   * Returns one page, newest first, with the names of the users that entries are about. The target may be the short
   * form of an id.
   * @throws RpcError `BAD_REQUEST` if the cursor is not the `nextCursor` of a page, or (ambiguous_id) if several
   *   targets have the short form
   */
  list(input: z.output<typeof auditListInput>): Promise<AuditPage>
}

/** The parts of {@link createAuditAdmin}. */
export interface AuditAdminOptions {
  store: AuditStore & ShortIdStore & Pick<UserStore, 'findUsernames'>
}

/** Creates the reader of the audit log. */
export function createAuditAdmin({ store }: AuditAdminOptions): AuditAdmin {
  const wholeTarget = (text: string) => idOfShortId(store, { text, place: 'auditTargets', noun: 'targets' })
  return {
    async list({ limit, cursor, target: given, ...others }) {
      const filters = { ...others, ...(given !== undefined && { target: (await wholeTarget(given)) ?? given }) }
      const { rows, nextCursor } = await pageOf<AuditRow>({
        limit,
        cursor,
        positionOf: ({ at, id }) => ({ time: at, id }),
        read: (before, count) =>
          store.listAudit({ ...filters, before: before && { at: before.time, id: before.id }, limit: count }),
      })
      const names = await store.findUsernames([...new Set(rows.flatMap(row => userOf(row) ?? []))])
      return { entries: rows.map(row => ({ ...row, username: names.get(userOf(row) ?? '') ?? null })), nextCursor }
    },
  }
}

/** Returns the id of the user that an entry is about: the target, or the owner of the key in the details. */
function userOf({ action, target, details }: AuditRow): string | undefined {
  const id = uuid.safeParse(/^(users|externalAuthLinks)\./.test(action) ? target : details?.userId)
  return id.success ? id.data : undefined
}
