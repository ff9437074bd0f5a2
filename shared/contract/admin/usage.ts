/** Totals of requests and tokens. */
import { z } from 'zod'
import { apiKeyId, name, time } from '../fields.js'
import { adminLimits } from '../limits.js'
import { endedBy, interceptionKinds } from '../recorder.js'
import { userRef } from './users.js'

/** The groups by which usage is totalled. `day` is the day of the start, in UTC; `key` the API key. */
export const usageGroups = ['user', 'key', 'provider', 'model', 'client', 'day'] as const

/** One of {@link usageGroups}. */
export type UsageGroup = (typeof usageGroups)[number]

/**
 * Totals by any of the groups; `from` ≤ started < `to`. `provider` matches the type or the configured name. Calls of
 * tools by MCP clients, which have no tokens, are counted on demand only.
 */
export const usageFilters = z.object({
  by: z.array(z.enum(usageGroups)).max(usageGroups.length).default([]),
  from: time.optional(),
  to: time.optional(),
  user: userRef.optional(),
  key: apiKeyId.optional(),
  provider: name.optional(),
  model: name.optional(),
  client: name.optional(),
  endedBy: z.enum(endedBy).optional(),
  interceptionKind: z.enum([...interceptionKinds, 'all']).default('model'),
})

/** Totals, most tokens first within a day, cut at `limit` rows. */
export const usageInput = usageFilters.extend({
  limit: z.number().int().min(1).max(adminLimits.maxUsageRows).default(adminLimits.maxUsageRows),
})

/** Reads all totals, page by page, in the order of their groups. `cursor` is the `nextCursor` of the page before. */
export const usageExportInput = usageFilters.extend({ cursor: z.string().max(4096).optional() })

/** The input of an export. */
export type UsageExportInput = z.input<typeof usageExportInput>

/** The totals of one combination of groups. Groups outside `by` are null; so is the name of an unknown user. */
export interface UsageRow {
  userId: string | null
  username: string | null
  keyId: string | null
  /** the configured name */
  provider: string | null
  model: string | null
  client: string | null
  /** of the start, in UTC: `2026-05-01` */
  day: string | null
  interceptions: number
  inputTokens: number
  outputTokens: number
  cacheReadInputTokens: number
  cacheWriteInputTokens: number
  /** of the priced records together, in nano-dollars as decimal text; null: none is priced */
  costNanos: string | null
  /** records of tokens without a price, whose cost is in no total */
  unpricedRecords: number
  /** records among the priced ones whose cost is an estimate */
  estimatedRecords: number
}

/** The groups of a row. */
export type UsageKey = Pick<UsageRow, 'userId' | 'keyId' | 'provider' | 'model' | 'client' | 'day'>

/** A page of an export. */
export interface UsageExportPage {
  rows: UsageRow[]
  /** null on the last page */
  nextCursor: string | null
}

/** Totals by group, most tokens first within a day. */
export interface UsageReport {
  rows: UsageRow[]
  /** more rows than `limit` exist */
  isCut: boolean
}
