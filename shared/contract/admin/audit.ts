/** The log of operators' writes, of their reads of chats, and of provider keys that were taken out. */
import { z } from 'zod'
import type { JsonObject } from '../../values/text.js'
import { name } from '../fields.js'
import { adminLimits } from '../limits.js'

/**
 * The procedures that add an entry to the audit log, by their paths without `admin.`; a key that a daemon took
 * out; an agent that another process replaced; and an operator who reads chats of users, by chat (`chats.read`) or as
 * a list (`chats.list`).
 */
export const auditActions = [
  'users.create',
  'users.setStatus',
  'users.delete',
  'users.purge',
  'apiKeys.create',
  'apiKeys.expire',
  'apiKeys.delete',
  'daemonKeys.create',
  'daemonKeys.revoke',
  'agents.create',
  'agents.revoke',
  'agents.replaced',
  'agents.start',
  'agents.signal',
  'providers.upsert',
  'providers.setEnabled',
  'providers.remove',
  'providers.test',
  'providers.keys.add',
  'providers.keys.remove',
  'providers.keys.order',
  'providers.keyRejected',
  'prices.set',
  'prices.remove',
  'prices.backfill',
  'mcpServers.upsert',
  'mcpServers.remove',
  'mcpServers.test',
  'externalAuthLinks.set',
  'externalAuthLinks.remove',
  'secrets.rotate',
  'chats.read',
  'chats.list',
] as const

/** One of {@link auditActions}. */
export type AuditAction = (typeof auditActions)[number]

/** One write of an operator, or another event of {@link auditActions}. */
export interface AuditRecord {
  id: string
  at: Date
  /** the name of the acting identity */
  actor: string
  /** one of {@link auditActions}, or an action that only a newer server knows */
  action: string
  /** the id or name of the row */
  target: string | null
  /** the name of the user that the entry is about; null for an entry about no user or an unknown user */
  username: string | null
  /** further values of the call; never a secret */
  details: JsonObject | null
}

/** Newest first. `cursor` is the `nextCursor` of the page before. */
export const auditListInput = z.object({
  limit: z.number().int().min(1).max(adminLimits.maxPageSize).default(adminLimits.defaultPageSize),
  cursor: z.string().max(256).optional(),
  actor: name.optional(),
  action: z.enum(auditActions).optional(),
  target: name.optional(),
})

/** A page of the audit log, newest first. */
export interface AuditPage {
  entries: AuditRecord[]
  /** null on the last page */
  nextCursor: string | null
}
