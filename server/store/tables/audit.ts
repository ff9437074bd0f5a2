/** The audit log in SQL; the guarantees stand in store.ts. */
import { type Kysely, sql } from 'kysely'
import { v7 as uuidv7 } from 'uuid'
import type { Database } from '../sql/schema.js'
import type { AuditEntry, AuditStore } from '../store.js'

/** The audit log of a database. */
export function auditStore(db: Kysely<Database>): AuditStore {
  return {
    listAudit({ limit, before, actor, action, target }) {
      let select = db.selectFrom('audit_log').select(['id', 'at', 'actor', 'action', 'target', 'details'])
      if (before) select = select.where(sql<boolean>`(at, id) < (${before.at}::timestamptz, ${before.id}::uuid)`)
      if (actor !== undefined) select = select.where('actor', '=', actor)
      if (action !== undefined) select = select.where('action', '=', action)
      // The first condition is that of the index, whose order is the list's; targets that end alike are few.
      if (target !== undefined) {
        const isAlike = sql<boolean>`target is not null and right(target, 12) collate "C" = right(${target}::text, 12)`
        select = select.where(isAlike).where('target', '=', target)
      }
      return select.orderBy('at', 'desc').orderBy('id', 'desc').limit(limit).execute()
    },
  }
}

/** Adds an entry within the transaction of the write that it is about. */
export async function insertAuditEntry(tx: Kysely<Database>, entry: AuditEntry): Promise<void> {
  const { id = uuidv7(), actor, action, target, details } = entry
  await tx
    .insertInto('audit_log')
    .values({ id, actor, action, target, details: details === null ? null : JSON.stringify(details) })
    .onConflict(conflict => conflict.column('id').doNothing())
    .execute()
}
