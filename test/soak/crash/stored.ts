/** The account of the database: every interception with its records, as the admin API shows them. */
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { InterceptionDetail, InterceptionsPage } from '../../../shared/contract/admin/interceptions.js'

/** One interception with its records. */
export type Stored = Pick<InterceptionDetail, 'interception' | 'tokenUsages' | 'promptUsages'>

type Reader = Pick<BridgeClient, 'admin'>

/** calls at once; more would only queue */
const readers = 16

/** Reads all pages of interceptions, and each interception with its records. */
export async function readStored({ admin }: Reader): Promise<Stored[]> {
  const ids: string[] = []
  let cursor: string | null | undefined
  while (cursor !== null) {
    const page: InterceptionsPage = await admin.interceptions.list.query({
      limit: 200,
      ...(cursor !== undefined && { cursor }),
    })
    ids.push(...page.interceptions.map(({ id }) => id))
    cursor = page.nextCursor
  }
  const stored: Stored[] = []
  const left = ids.values()
  await Promise.all(
    Array.from({ length: readers }, async () => {
      for (const id of left) stored.push(await admin.interceptions.get.query({ id }))
    }),
  )
  return stored
}

/** Returns the number of interceptions without an end. */
export async function countOpen({ admin }: Reader): Promise<number> {
  let open = 0
  let cursor: string | null | undefined
  while (cursor !== null) {
    const page: InterceptionsPage = await admin.interceptions.list.query({
      limit: 200,
      ...(cursor !== undefined && { cursor }),
    })
    open += page.interceptions.filter(({ endedAt }) => endedAt === null).length
    cursor = page.nextCursor
  }
  return open
}
