/** The account of the database: every interception with its records, as the admin API shows them. */
import type { BridgeClient } from '../../../client/bridge-client.js'
import type {
  Interception,
  InterceptionDetail,
  InterceptionsPage,
} from '../../../shared/contract/admin/interceptions.js'

/** One interception with its records. */
export type Stored = Pick<InterceptionDetail, 'interception' | 'tokenUsages' | 'promptUsages'>

type Reader = Pick<BridgeClient, 'admin'>

/** calls at once; more would only queue */
const readers = 16

/** Reads all pages of interceptions, and each interception with its records. */
export async function readStored({ admin }: Reader): Promise<Stored[]> {
  const stored: Stored[] = []
  const left = (await listAll({ admin })).values()
  await Promise.all(
    Array.from({ length: readers }, async () => {
      for (const { id } of left) stored.push(await admin.interceptions.get.query({ id }))
    }),
  )
  return stored
}

/** Returns the number of interceptions without an end. */
export async function countOpen(client: Reader): Promise<number> {
  return (await listAll(client)).filter(({ endedAt }) => endedAt === null).length
}

async function listAll({ admin }: Reader): Promise<Interception[]> {
  const all: Interception[] = []
  let cursor: string | null | undefined
  while (cursor !== null) {
    const input = { limit: 200, ...(cursor !== undefined && { cursor }) }
    const page: InterceptionsPage = await admin.interceptions.list.query(input)
    all.push(...page.interceptions)
    cursor = page.nextCursor
  }
  return all
}
