import type { z } from 'zod'
import { abandonment as limits } from '../../../shared/contract/limits.js'
import type { EndAbandonedOutput, endAbandonedInput } from '../../../shared/contract/recorder.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import type { AbsentDaemon, DaemonInstanceStore, EndStore, OpenInterceptionsQuery } from '../../store/store.js'
import type { DaemonIdentity } from '../identity.js'
import { afterChange } from '../partial-change.js'
import type { DaemonPresence } from './daemon-presence.js'
import { logAbandonedEnd } from './record-log.js'

/** Ends the interceptions that daemons have left open, in small transactions with pauses between them. */
export interface AbandonedInterceptions {
  /**
   * Ends the open interceptions of daemons that are gone, as a daemon with the same key says: it has their outbox. A
   * daemon that is connected, here or as far as is known elsewhere, keeps its interceptions; so does the caller. A call
   * works for some seconds at most; {@link AbandonedInterceptionsOptions.onLeft} reports that more is left.
   */
  endAbandoned(
    input: z.output<typeof endAbandonedInput>,
    caller: Pick<DaemonIdentity, 'daemonKeyId' | 'daemonInstance'>,
    signal?: AbortSignal,
  ): Promise<EndAbandonedOutput>
  /** Ends the open interceptions of a daemon that is gone, until `signal` aborts or the daemon is back. */
  endOf(daemon: AbsentDaemon, signal: AbortSignal): Promise<void>
  /** Ends open interceptions that name no daemon, until `signal` aborts. */
  endUnnamed(times: Pick<OpenInterceptionsQuery, 'startedFrom' | 'startedBefore'>, signal: AbortSignal): Promise<void>
}

/** Settings of {@link createAbandonedInterceptions}. */
export interface AbandonedInterceptionsOptions {
  store: Pick<DaemonInstanceStore, 'declareDaemonsGone' | 'settleDaemon'> & EndStore
  presence: Pick<DaemonPresence, 'isConnected'>
  logger: Logger
  structuredLogging?: boolean
  now?: () => Date
  /** called with the number of interceptions that were ended, for a metric */
  onAbandoned?: (interceptions: number) => void
  /** called if daemons that were declared gone still have open interceptions */
  onLeft?: () => void
}

/** Creates {@link AbandonedInterceptions}. */
export function createAbandonedInterceptions(options: AbandonedInterceptionsOptions): AbandonedInterceptions {
  const { store, presence, logger, structuredLogging = false, now = () => new Date() } = options

  /** Returns the number of ended interceptions, and whether no open one is left. */
  async function end(
    query: Omit<OpenInterceptionsQuery, 'limit' | 'before'>,
    errorMessage: string,
    goesOn: () => boolean,
    signal: AbortSignal | undefined,
  ): Promise<{ ended: number; isWhole: boolean }> {
    let [ended, skipped] = [0, 0]
    let before: OpenInterceptionsQuery['before']
    for (;;) {
      if (signal?.aborted || !goesOn()) return { ended, isWhole: false }
      const limit = limits.batchInterceptions
      const part = await store.endOpenInterceptions({ ...query, before, limit }, { at: now(), errorMessage })
      ended += part.ended.length
      skipped += part.skipped
      if (part.ended.length > 0) options.onAbandoned?.(part.ended.length)
      if (structuredLogging) for (const row of part.ended) logAbandonedEnd(logger, row)
      if (!part.next) return { ended, isWhole: skipped === 0 }
      before = part.next
      await abortablePause(limits.pauseMs, signal)
    }
  }

  async function endOfDaemon(
    { daemonInstance, lastSeenAt, isDeclaredGone }: AbsentDaemon,
    daemonKeyId: string | null | undefined,
    goesOn: () => boolean,
    signal: AbortSignal | undefined,
  ): Promise<{ ended: number; isWhole: boolean }> {
    const isGone = () => goesOn() && !presence.isConnected(daemonInstance)
    const message = isDeclaredGone ? messages.declaredGone : messages.notConnected
    const result = await end({ daemonInstance, daemonKeyId }, message, isGone, signal)
    if (result.ended > 0) {
      const fields = { daemonInstance, lastSeenAt, ended: result.ended }
      logger.info(fields, 'interceptions of a daemon that is gone were ended')
    }
    if (result.isWhole) await store.settleDaemon({ daemonInstance, lastSeenAt, at: now() })
    return result
  }

  async function endAll(
    daemons: readonly AbsentDaemon[],
    daemonKeyId: string | null,
    signal: AbortSignal | undefined,
  ): Promise<EndAbandonedOutput> {
    const giveUpAt = performance.now() + limits.sliceMs
    let ended = 0
    let isWhole = true
    for (const daemon of daemons) {
      // A server that was killed leaves such a row too. Clocks of servers may differ, so the row's age says nothing:
      // the sweep sees whether the row is renewed.
      const result = daemon.isConnected
        ? { ended: 0, isWhole: false }
        : await endOfDaemon(daemon, daemonKeyId, () => performance.now() < giveUpAt, signal)
      ended += result.ended
      isWhole &&= result.isWhole
    }
    if (!isWhole) options.onLeft?.()
    return { ended }
  }

  return {
    async endAbandoned({ daemonInstances }, { daemonKeyId = null, daemonInstance: own }, signal) {
      const named = new Set(daemonInstances.filter(id => id !== own))
      if (named.size === 0) return { ended: 0 }
      const daemons = await store.declareDaemonsGone([...named], { daemonKeyId, at: now() })
      return afterChange(() => endAll(daemons, daemonKeyId, signal))
    },

    async endOf(daemon, signal) {
      await endOfDaemon(daemon, undefined, () => true, signal)
    },

    async endUnnamed({ startedFrom, startedBefore }, signal) {
      const query = { daemonInstance: null, startedFrom, startedBefore }
      const { ended } = await end(query, messages.notConnected, () => true, signal)
      if (ended > 0) logger.info({ ended, startedBefore }, 'interceptions that name no daemon were ended')
    },
  }
}

const messages = {
  notConnected: 'the daemon that carried this request was gone for long, and had not reported an end',
  declaredGone: 'the process of the daemon that carried this request ended, and had not reported an end',
} as const
