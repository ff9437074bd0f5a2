import { RpcError } from '../../shared/rpc/errors.js'

/**
 * Runs work behind a change that is stored. Its errors say that the procedure may have run: with `mayHaveRun: false`
 * the store speaks of the last statement alone.
 */
export async function afterChange<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    throw partlyDone(thrown)
  }
}

/** Returns the error of a procedure that has changed something before. */
export function partlyDone(thrown: unknown): unknown {
  if (!(thrown instanceof RpcError) || thrown.mayHaveRun !== false) return thrown
  const { code, message, reason, cause } = thrown
  return new RpcError<string>(code, message, { reason, cause, mayHaveRun: true })
}
