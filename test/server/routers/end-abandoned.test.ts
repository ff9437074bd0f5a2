import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createServerMetrics } from '../../../server/metrics/prometheus.js'
import type { DaemonIdentity } from '../../../server/services/identity.js'
import { admin, deployments, oneStore, startServer } from '../services/running-server.js'

const at = new Date('2026-03-04T05:06:07.089Z')
const keys = { own: 'abcdefghij', foreign: 'klmnopqrst' }

describe.each(deployments)('recorder.endAbandoned $name', deployment => {
  const store = oneStore(deployment)

  const identity = (daemonKeyId: string | undefined, daemonInstance: string): DaemonIdentity => ({
    role: 'daemon',
    name: 'a daemon',
    delegate: false,
    daemonInstance,
    ...(daemonKeyId !== undefined && { daemonKeyId }),
  })

  async function start({ structuredLogging = false } = {}) {
    const metrics = createServerMetrics()
    const running = await startServer(store(), { structuredLogging }, deployment, metrics)
    /** Connects a daemon process, which has one open interception. */
    const daemon = async (daemonKeyId: string | undefined, daemonInstance = randomUUID()) => {
      const client = running.connect(identity(daemonKeyId, daemonInstance))
      const id = randomUUID()
      await client.recorder.recordInterception.mutate({
        id,
        initiatorId: randomUUID(),
        apiKeyId: 'abcdefghij',
        provider: 'anthropic',
        model: 'claude',
        startedAt: at,
      })
      const endAbandoned = async (...daemonInstances: string[]) =>
        (await client.recorder.endAbandoned.mutate({ daemonInstances })).ended
      return { client, id, daemonInstance, endAbandoned, close: () => client.close() }
    }
    const operator = running.connect(admin)
    const read = async (id: string) => (await operator.admin.interceptions.get.query({ id })).interception
    return { ...running, metrics, daemon, read }
  }

  test('the interceptions of a process that is gone are ended, once, and its own end still counts', async () => {
    const { daemon, read, metrics } = await start()
    const gone = await daemon(keys.own)
    await gone.close()
    const { endAbandoned, client, id } = await daemon(keys.own)
    // The server notes the end of a connection a moment after the close.
    await expect.poll(() => endAbandoned(gone.daemonInstance, randomUUID())).toBe(1)
    expect(await endAbandoned(gone.daemonInstance)).toBe(0)
    const end = { errorType: 'unknown', endedBy: 'control_plane', errorMessage: expect.stringContaining('ended') }
    expect(await read(gone.id)).toMatchObject(end)
    expect(await read(id)).toMatchObject({ endedAt: null, endedBy: null })
    expect(await metrics.text()).toContain('interceptions_abandoned_total 1')
    await client.recorder.recordInterceptionEnded.mutate({ id: gone.id, endedAt: at })
    expect(await read(gone.id)).toMatchObject({ endedAt: at, errorType: null, endedBy: null, errorMessage: null })
  })

  test('processes with another key, connected ones and the caller keep their interceptions', async () => {
    const { daemon, read } = await start()
    const [foreign, closed] = [await daemon(keys.foreign), await daemon(keys.own)]
    await foreign.close()
    await closed.close()
    const connected = await daemon(keys.own)
    const caller = await daemon(keys.own)
    const named = [foreign, connected, caller, closed].map(({ daemonInstance }) => daemonInstance)
    await expect.poll(() => caller.endAbandoned(...named)).toBe(1)
    const ends = await Promise.all([foreign, connected, caller, closed].map(async ({ id }) => (await read(id)).endedBy))
    expect(ends).toEqual([null, null, null, 'control_plane'])
  })

  test('a process that is connected to another server keeps its interceptions until it leaves', async () => {
    const [here, there] = [await start(), await start()]
    const elsewhere = await there.daemon(keys.own)
    const caller = await here.daemon(keys.own)
    // Behind the note of this later process stands that of the first.
    const later = await there.daemon(keys.own)
    await later.close()
    await expect.poll(() => caller.endAbandoned(later.daemonInstance)).toBe(1)
    expect(await caller.endAbandoned(elsewhere.daemonInstance)).toBe(0)
    await elsewhere.close()
    await expect.poll(() => caller.endAbandoned(elsewhere.daemonInstance)).toBe(1)
  })

  test('a daemon of a server ends those of daemons of servers only', async context => {
    if (deployment.link !== 'memory') return context.skip('a remote daemon has a key')
    const { daemon, read } = await start()
    const [keyed, keyless] = [await daemon(keys.own), await daemon(undefined)]
    await keyed.close()
    await keyless.close()
    const { endAbandoned } = await daemon(undefined)
    await expect.poll(() => endAbandoned(keyed.daemonInstance, keyless.daemonInstance)).toBe(1)
    expect([(await read(keyed.id)).endedBy, (await read(keyless.id)).endedBy]).toEqual([null, 'control_plane'])
  })

  test('with structured logging such an end is a line as any other end', async () => {
    const { daemon, logger } = await start({ structuredLogging: true })
    const gone = await daemon(keys.own)
    await gone.close()
    const { endAbandoned } = await daemon(keys.own)
    await expect.poll(() => endAbandoned(gone.daemonInstance)).toBe(1)
    const fields = { record_type: 'interception_end', interceptionId: gone.id, endedBy: 'control_plane' }
    expect(logger.lines).toContainEqual({
      level: 'info',
      message: 'interception log',
      fields: { ...fields, errorType: 'unknown', endedAt: expect.any(Date) },
    })
  })
})
