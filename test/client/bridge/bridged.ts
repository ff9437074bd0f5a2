/** Starts a stand-in provider, a control plane of the table, and a bridge between them for each test. */
import { afterEach, beforeEach, expect } from 'vitest'
import type { BridgeDaemonOptions } from '../../../client/bridge/daemon.js'
import { eventually } from '../../fixtures/eventually.js'
import { type StandInProvider, startProvider } from '../../fixtures/provider.js'
import type { ControlPlaneRow, Recorded, RunningControlPlane } from './control-planes.js'
import { type RunningBridge, startBridge } from './running-bridge.js'

/** The instances of the running test. */
export interface Bridged {
  provider: StandInProvider
  plane: RunningControlPlane
  bridge: RunningBridge
  /** Resolves with the interceptions, oldest first, when the given number of them have ended. */
  recordedOf(count: number): Promise<Recorded[]>
}

/**
 * Starts all three before each test of the calling suite and ends them after it. A call without a response left fails
 * the test.
 */
export function bridged(start: ControlPlaneRow['start'], options: Partial<BridgeDaemonOptions> = {}): Bridged {
  const running = {
    async recordedOf(count: number) {
      return eventually(async () => {
        const all = await running.plane.recorded()
        expect(all.filter(one => Reflect.get(one.end, 'endedAt') instanceof Date)).toHaveLength(count)
        return all
      })
    },
  } as Bridged // complete when a test runs
  beforeEach(async () => {
    running.provider = await startProvider()
    running.plane = await start(running.provider.url)
    running.bridge = await startBridge(running.plane.client, {}, running.plane.key, options)
  })
  afterEach(async () => {
    await running.bridge.close()
    await running.plane.close()
    await running.provider.close()
    expect(running.provider.unexpected).toBe(0)
  })
  return running
}
