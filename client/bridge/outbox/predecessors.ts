import type { BridgeLimits } from '../../../shared/contract/limits.js'
import { errorCodeOf } from '../../../shared/rpc/errors.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import { isClosedForGood } from '../wire/rejection.js'

/** Options of {@link declarePredecessorsGone}. */
export interface PredecessorsOptions {
  /** lets the control plane end what these processes left open */
  declareGone: (daemonInstances: string[], signal: AbortSignal) => Promise<unknown>
  /** called with each process of which the control plane knows that it is gone */
  onDeclared: (daemonInstance: string) => void
  logger: Logger
  limits: Pick<BridgeLimits, 'outboxRetryMaxMs'>
  /** ends the attempts */
  signal: AbortSignal
}

/** instances in one call */
const maxInstances = 100

/** Lets the control plane end what the processes before this one left open and did not write. Never rejects. */
export async function declarePredecessorsGone(
  instances: readonly string[],
  { declareGone, onDeclared, logger, limits, signal }: PredecessorsOptions,
): Promise<void> {
  let left = instances
  while (!signal.aborted && left.length > 0) {
    try {
      const daemonInstances = left.slice(0, maxInstances)
      await declareGone(daemonInstances, signal)
      for (const instance of daemonInstances) onDeclared(instance)
      left = left.slice(maxInstances)
    } catch (error) {
      if (isClosedForGood(error)) return
      logger.debug({ err: error, code: errorCodeOf(error) }, 'processes before this one could not be reported gone')
      await abortablePause(limits.outboxRetryMaxMs, signal)
    }
  }
}
