import type { TRPCError } from '@trpc/server'
import { type ErrorData, errorCodes, RpcError } from '../../shared/rpc/errors.js'

/** The `data` of an error, as every client of this service sees it. */
export interface ErrorShapeData extends ErrorData {
  httpStatus: number
  path?: string
}

/** A failed call, as tRPC passes it. */
interface FailedCall {
  error: TRPCError
  type: string
  path: string | undefined
  ctx: { requestId?: string | undefined } | undefined
}

/** Makes the error that a client gets: code, reason and message, never a stack. */
export function formatError({ error, type, path, ctx }: FailedCall) {
  const { code, reason, message, mayHaveRun = mayHaveRunByDefault(error, type) } = RpcError.from(error)
  const { number, status } = errorCodes[code]
  const data: ErrorShapeData = { code, httpStatus: status }
  if (path !== undefined) data.path = path
  if (reason !== undefined) data.reason = reason
  if (ctx?.requestId !== undefined) data.requestId = ctx.requestId
  if (mayHaveRun !== undefined) data.mayHaveRun = mayHaveRun
  return { code: number, message, data }
}

/** A fault of this program may come behind a change; a rejection never does. */
function mayHaveRunByDefault({ code }: TRPCError, type: string): boolean | undefined {
  return code === 'INTERNAL_SERVER_ERROR' && type === 'mutation' ? true : undefined
}
