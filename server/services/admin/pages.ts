/** Reads lists page by page, newest first. */
import { z } from 'zod'
import { time, uuid } from '../../../shared/contract/fields.js'
import { RpcError } from '../../../shared/rpc/errors.js'

/** The begin of a page: behind the row with this time and id. Rows that arrive meanwhile move nothing. */
export interface Position {
  time: Date
  id: string
}

/**
 * Reads one page and the cursor of the next page.
 * @param read returns up to `count` rows behind a position, in the order of the list
 * @throws RpcError `BAD_REQUEST` if the cursor is not the `nextCursor` of a page
 */
export async function pageOf<R>(options: {
  limit: number
  cursor: string | undefined
  positionOf: (row: R) => Position
  read: (before: Position | undefined, count: number) => Promise<R[]>
}): Promise<{ rows: R[]; nextCursor: string | null }> {
  const { limit, cursor, positionOf, read } = options
  // One row more than the limit says whether another page exists.
  const found = await read(cursor === undefined ? undefined : decodeCursor(cursor), limit + 1)
  const rows = found.slice(0, limit)
  const last = found.length > limit ? rows.at(-1) : undefined
  return { rows, nextCursor: last ? encodeCursor(positionOf(last)) : null }
}

const cursorFormat = z.tuple([z.number().int(), uuid])

function encodeCursor({ time, id }: Position): string {
  return Buffer.from(JSON.stringify([time.getTime(), id])).toString('base64url')
}

function decodeCursor(cursor: string): Position {
  try {
    const [milliseconds, id] = cursorFormat.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')))
    return { time: time.parse(new Date(milliseconds)), id }
  } catch {
    throw new RpcError('BAD_REQUEST', 'cursor: is not the nextCursor of a page')
  }
}
