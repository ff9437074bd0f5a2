import type { z } from 'zod'
import type { UsageReport, usageInput } from '../../../../shared/contract/admin/usage.js'
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
}

export interface UsageOptions {
  store: UsageStore & UserFinder
}

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
  }
}
