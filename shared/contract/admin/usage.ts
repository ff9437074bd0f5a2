/** Totals of requests and tokens. */
import { z } from 'zod'
import { name, time } from '../fields.js'
import { adminLimits } from '../limits.js'
import { endedBy, interceptionKinds } from '../recorder.js'
import { userRef } from './users.js'

/** The groups by which usage is totalled. `day` is the day of the start, in UTC. */
export const usageGroups = ['user', 'provider', 'model', 'day'] as const

/** One of {@link usageGroups}. */
export type UsageGroup = (typeof usageGroups)[number]

/**
 * Totals by any of the groups; `from` ≤ started < `to`. `provider` matches the type or the configured name. Calls of
 * tools by MCP clients, which have no tokens, are counted on demand only.
 */
export const usageInput = z.object({
  by: z.array(z.enum(usageGroups)).max(usageGroups.length).default([]),
  from: time.optional(),
  to: time.optional(),
  user: userRef.optional(),
  provider: name.optional(),
  model: name.optional(),
  endedBy: z.enum(endedBy).optional(),
  interceptionKind: z.enum([...interceptionKinds, 'all']).default('model'),
  limit: z.number().int().min(1).max(adminLimits.maxUsageRows).default(adminLimits.maxUsageRows),
})

/** The totals of one combination of groups. Groups outside `by` are null; so is the name of an unknown user. */
export interface UsageRow {
  userId: string | null
  username: string | null
  /** the configured name */
  provider: string | null
  model: string | null
  /** of the start, in UTC: `2026-05-01` */
  day: string | null
  interceptions: number
  inputTokens: number
  outputTokens: number
  cacheReadInputTokens: number
  cacheWriteInputTokens: number
}

/** Totals by group, most tokens first within a day. */
export interface UsageReport {
  rows: UsageRow[]
  /** more rows than `limit` exist */
  isCut: boolean
}
