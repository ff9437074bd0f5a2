import type { AuditAction } from '../../shared/contract/admin/audit.js'
import type { JsonObject } from '../../shared/values/text.js'
import type { AuditEntry } from '../store/store.js'

/**
 * Creates an entry of the audit log.
 * @param actor the name of the calling identity
 * @param details values of the call; never a secret
 */
export function auditEntry(
  actor: string,
  action: AuditAction,
  target: string | null,
  details: JsonObject | null = null,
): AuditEntry {
  return { actor, action, target, details }
}
