import type { z } from 'zod'
import type { AuditPage, AuditRecord, auditListInput } from '../../../shared/contract/admin.js'
import type { JsonObject } from '../../../shared/values/text.js'
import type { AuditEntry, AuditStore } from '../../store/store.js'
import { pageOf } from './pages.js'

/** Reading what operators did. Every write of the admin services adds its entry in its own transaction. */
export interface AuditAdmin {
  /**
   * One page, newest first.
   * @throws RpcError `BAD_REQUEST` if the cursor is none of ours
   */
  list(input: z.output<typeof auditListInput>): Promise<AuditPage>
}

export interface AuditAdminOptions {
  store: AuditStore
}

export function createAuditAdmin({ store }: AuditAdminOptions): AuditAdmin {
  return {
    async list({ limit, cursor, ...filters }) {
      const { rows, nextCursor } = await pageOf<AuditRecord>({
        limit,
        cursor,
        positionOf: ({ at, id }) => ({ time: at, id }),
        read: (before, count) =>
          store.listAudit({ ...filters, before: before && { at: before.time, id: before.id }, limit: count }),
      })
      return { entries: rows, nextCursor }
    },
  }
}

/** An entry of the audit log. `actor` is the name of the identity that calls. */
export function auditEntry(
  actor: string,
  action: string,
  target: string | null,
  details: JsonObject | null = null,
): AuditEntry {
  return { actor, action, target, details }
}
