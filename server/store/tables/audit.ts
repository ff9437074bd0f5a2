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
      if (target !== undefined) select = select.where('target', '=', target)
      return select.orderBy('at', 'desc').orderBy('id', 'desc').limit(limit).execute()
    },
  }
}

/** Adds an entry within the transaction of the write that it is about. */
export async function insertAuditEntry(tx: Kysely<Database>, entry: AuditEntry): Promise<void> {
  const { actor, action, target, details } = entry
  await tx
    .insertInto('audit_log')
    .values({ id: uuidv7(), actor, action, target, details: details === null ? null : JSON.stringify(details) })
    .execute()
}
