import { z } from 'zod'
import type {
  UsageExportPage,
  UsageKey,
  UsageReport,
  usageExportInput,
  usageInput,
} from '../../../../shared/contract/admin/usage.js'
import { uuid } from '../../../../shared/contract/fields.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import type { UsageStore } from '../../../store/store.js'
import { initiatorOf, type UserFinder } from '../find-user.js'

export interface Usage {
  /**
   * Returns totals of interceptions and their tokens, one row for each combination of the groups in `by` that occurs;
   * without groups one row, also for an empty store. Days begin at midnight UTC; an interception belongs to the day of
   * its start, with all its tokens.
   *
   * Sorted by day, newest first, then by all tokens together, most first. `isCut` says that more rows than `limit`
   * exist.
   * @throws RpcError `NOT_FOUND` (unknown_row) if no user has the name; a user's id also finds the records of a user
   *   who does not exist
   */
  usage(input: z.output<typeof usageInput>): Promise<UsageReport>
  /**
   * Returns a page of the same rows, in the order of their groups; all pages together have no limit. Each page is as of
   * its own moment.
   * @throws RpcError as `usage`; `BAD_REQUEST` if the cursor is not the `nextCursor` of a page
   */
  usageExport(input: z.output<typeof usageExportInput>): Promise<UsageExportPage>
}

export interface UsageOptions {
  store: UsageStore & UserFinder
}

/** Rows of one page: some hundred KiB. */
const exportRows = 1_000

export function createUsage({ store }: UsageOptions): Usage {
  return {
    async usage({ user, limit, interceptionKind: kind, ...query }) {
      const initiatorId = user === undefined ? undefined : await initiatorOf(store, user)
      // One row more than the limit says whether more rows exist.
      const rows = await store.readUsage({
        ...query,
        interceptionKind: kind === 'all' ? undefined : kind,
        initiatorId,
        limit: limit + 1,
      })
      return { rows: rows.slice(0, limit), isCut: rows.length > limit }
    },
    async usageExport({ user, cursor, interceptionKind: kind, ...query }) {
      const initiatorId = user === undefined ? undefined : await initiatorOf(store, user)
      const after = cursor === undefined ? undefined : decodeCursor(cursor)
      const interceptionKind = kind === 'all' ? undefined : kind
      const rows = await store.readUsagePage({ ...query, interceptionKind, initiatorId, limit: exportRows }, after)
      const last = rows.length === exportRows ? rows.at(-1) : undefined
      return { rows, nextCursor: last ? encodeCursor(last) : null }
    },
  }
}

const text = z.string().max(1_024).nullable()
const cursorFormat = z.tuple([text, text, text, text, text, text])

function encodeCursor({ userId, keyId, provider, model, client, day }: UsageKey): string {
  return Buffer.from(JSON.stringify([userId, keyId, provider, model, client, day])).toString('base64url')
}

function decodeCursor(cursor: string): UsageKey {
  try {
    const values = cursorFormat.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')))
    const [userId, keyId, provider, model, client, day] = values
    return { userId: uuid.nullable().parse(userId), keyId, provider, model, client, day }
  } catch {
    throw new RpcError('BAD_REQUEST', 'cursor: is not the nextCursor of a page')
  }
}
