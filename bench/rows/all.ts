import { aibridgeRows } from './aibridge.js'
import { echoRow } from './echo.js'
import { loadPeers } from './peers.js'
import type { Row } from './row.js'
import { trpcRows } from './trpc.js'

/** Returns all rows in the order of the table. */
export async function allRows({ peers }: { peers: boolean }): Promise<readonly Row[]> {
  return [...trpcRows, echoRow, ...(peers ? await loadPeers() : []), ...aibridgeRows]
}
