import type { BridgeDaemonOptions } from '../../client/bridge/daemon.js'
import type { DoorConfig } from '../config/config.js'

/** Returns the options of a daemon for its settings. */
export function doorOptions(config: DoorConfig): Partial<BridgeDaemonOptions> {
  const {
    firstByteTimeoutMs,
    idleTimeoutMs,
    maxBodyBytes,
    maxTotalBodyBytes,
    bodyTimeoutMs,
    clientTimeoutMs,
    mcpCallTimeoutMs,
  } = config
  return {
    limits: {
      upstreamHeadersTimeoutMs: firstByteTimeoutMs,
      upstreamIdleTimeoutMs: idleTimeoutMs,
      maxBodyBytes,
      maxTotalBodyBytes,
      bodyTimeoutMs,
      clientTimeoutMs,
      mcpCallTimeoutMs,
    },
    withheldHeaders: config.withheldHeaders.map(name => name.toLowerCase()),
    allowedOrigins: config.allowedOrigins,
    trustedProxies: config.trustedProxies,
  }
}
