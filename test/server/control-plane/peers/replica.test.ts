/** The note of a server that it lives. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { ReplicaPresence } from '../../../../server/control-plane/peers/replica.js'
import type { ReplicaStore, Store } from '../../../../server/store/store.js'
import { presence } from '../../../../shared/contract/limits.js'
import { stores } from '../../../fixtures/stores.js'
import { deferred, recordingLogger } from '../../services/running-server.js'

const url = 'http://10.0.0.1:4100'
const livesMs = presence.replicaGoneAfterMs

afterEach(() => void vi.useRealTimers())

describe.each(stores)('the note of a server: $name', ({ open }) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  test('a server with a URL is found until it stops', async () => {
    const logger = recordingLogger()
    const replica = new ReplicaPresence({ store, logger, advertiseUrl: url })
    expect(await store.findReplica(replica.id, livesMs)).toBeNull()
    replica.start()
    await expect.poll(() => store.findReplica(replica.id, livesMs)).toEqual({ id: replica.id, advertiseUrl: url })
    await replica.stop()
    expect(await store.findReplica(replica.id, livesMs)).toBeNull()
    replica.start()
    await replica.stop()
    expect(await store.findReplica(replica.id, livesMs)).toBeNull()
    expect(logger.lines).toEqual([])
  })
})

/** A store that counts the notes, and takes one as `next` says. */
function watchedStore(next: () => Promise<void> = async () => {}) {
  const seen: string[] = []
  const forgotten: (string | null)[] = []
  const store: ReplicaStore = {
    async recordReplicaSeen({ id }) {
      seen.push(id)
      await next()
    },
    findReplica: async () => null,
    async forgetReplicas({ id }) {
      forgotten.push(id)
      await next()
    },
  }
  return { store, seen, forgotten }
}

describe('the time of notes', () => {
  test('a server is noted every ten seconds, and one note that fails is followed by the next', async () => {
    vi.useFakeTimers()
    const logger = recordingLogger()
    let isDown = false
    const { store, seen, forgotten } = watchedStore(async () => {
      if (isDown) throw new Error('no database')
    })
    const replica = new ReplicaPresence({ store, logger, advertiseUrl: url })
    replica.start()
    await vi.advanceTimersByTimeAsync(9_999)
    expect([seen, forgotten]).toEqual([[replica.id], [null]])
    isDown = true
    await vi.advanceTimersByTimeAsync(1)
    expect(logger.lines).toMatchObject([{ level: 'warn', message: 'it could not be stored that this server lives' }])
    isDown = false
    await vi.advanceTimersByTimeAsync(20_000)
    expect(seen).toHaveLength(4)
    await replica.stop()
    await vi.advanceTimersByTimeAsync(60_000)
    expect([seen.length, forgotten]).toEqual([4, [null, replica.id]])
  })

  test('a server without a URL writes nothing', async () => {
    vi.useFakeTimers()
    const { store, seen, forgotten } = watchedStore()
    const replica = new ReplicaPresence({ store, logger: recordingLogger(), advertiseUrl: undefined })
    replica.start()
    await vi.advanceTimersByTimeAsync(60_000)
    await replica.stop()
    expect([seen, forgotten]).toEqual([[], []])
  })

  test('a store that hangs gets one note, and keeps no server from its end', async () => {
    vi.useFakeTimers()
    const { promise, resolve } = deferred<void>()
    const { store, seen } = watchedStore(() => promise)
    const replica = new ReplicaPresence({ store, logger: recordingLogger(), advertiseUrl: url })
    replica.start()
    await vi.advanceTimersByTimeAsync(30_000)
    expect(seen).toHaveLength(1)
    const stopped = replica.stop()
    await vi.advanceTimersByTimeAsync(presence.stopMs)
    await stopped
    resolve()
  })
})
