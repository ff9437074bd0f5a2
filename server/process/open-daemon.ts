import { type BridgeDaemon, createBridgeDaemon } from '../../client/bridge/daemon.js'
import type { BridgeMetrics } from '../../client/bridge/metrics/metrics.js'
import type { DoorConfig, OutboxConfig } from '../config/config.js'
import { doorOptions } from './door-options.js'
import { type OutboxParts, openOutbox } from './open-outbox.js'

/** Settings of a bridge. */
export interface OpenDaemonConfig extends DoorConfig, OutboxConfig {
  /** whether contents of requests and responses are recorded */
  recordContent: boolean
}

/** Parts of a bridge beside its settings. */
export interface DaemonParts extends OutboxParts {
  metrics: BridgeMetrics
}

/**
 * Opens the outbox of a bridge, and starts the bridge, whose `close()` closes both.
 * @throws RpcError as {@link openOutbox}; if the bridge cannot start, no other process finds the outbox in use
 */
export async function openDaemon(config: OpenDaemonConfig, parts: DaemonParts): Promise<BridgeDaemon> {
  const { client, logger, metrics } = parts
  const outbox = await openOutbox(config, parts)
  try {
    return createBridgeDaemon({
      client,
      logger,
      metrics,
      recordContent: config.recordContent,
      ...(outbox && { outbox }),
      ...doorOptions(config),
    })
  } catch (error) {
    await outbox?.close({ timeoutMs: 0 })
    throw error
  }
}
