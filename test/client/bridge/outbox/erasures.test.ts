/** The daemon's part of a purge. */
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { type ErasureWatch, watchErasures } from '../../../../client/bridge/outbox/erasures.js'
import type { Outbox } from '../../../../client/bridge/outbox/outbox.js'
import { erasure as limits } from '../../../../shared/contract/limits.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { eventually } from '../../../fixtures/eventually.js'
import { json, type StandInProvider, startProvider } from '../../../fixtures/provider.js'
import { anthropicProvider, memoryLogger, send, startBridge } from '../running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey, testOwner } from '../scripted-control-plane.js'

let plane: ScriptedControlPlane
let provider: StandInProvider
beforeEach(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane([anthropicProvider(provider.url)])
})
afterEach(() => provider.close())

const erasureOf = (userId: string = randomUUID()) => ({ erasureId: randomUUID(), userId })

/** Watches for an outbox whose erasing a test decides. */
function watch(erase: Outbox['erase'], outbox: Partial<Outbox> = {}) {
  const { logger, lines } = memoryLogger()
  const parts = { id: randomUUID(), isDurable: true, isEmpty: false, erase, ...outbox } as Outbox // no other is used
  const watching: ErasureWatch = watchErasures({
    client: plane,
    outbox: parts,
    logger,
    limits: { outboxRetryMinMs: 1, outboxRetryMaxMs: 4 },
  })
  onTestFinished(() => watching.stop())
  return { watching, lines, outbox: parts }
}

test('erasures that come together are one pass over the outbox, and each is confirmed with its number of records', async () => {
  const [one, two, again] = [erasureOf(), erasureOf(), erasureOf()]
  again.userId = one.userId
  const passes: string[][] = []
  watch(async userIds => {
    passes.push([...userIds])
    return new Map([[one.userId, 3]])
  })
  for (const erasure of [one, two, one, again]) plane.erase(erasure)
  const expected = [one, two, again].map(({ erasureId }, index) => ({ erasureId, records: index === 0 ? 3 : 0 }))
  await eventually(() => expect(plane.confirmed).toEqual(expected))
  expect(passes).toEqual([[one.userId, two.userId]])
})

test('an erasure is confirmed when the outbox has it, and not before', async () => {
  let finish = (_counts: Map<string, number>) => {}
  const started = vi.fn()
  watch(() => {
    started()
    return new Promise(resolve => {
      finish = resolve
    })
  })
  plane.erase(erasureOf())
  await eventually(() => expect(started).toHaveBeenCalledTimes(1))
  expect(plane.confirmed).toEqual([])
  finish(new Map())
  await eventually(() => expect(plane.confirmed).toHaveLength(1))
})

test('a disk or a control plane that fails is asked again, and no removed record is counted twice or lost', async () => {
  const erasure = erasureOf()
  let passes = 0
  let calls = 0
  plane.before = path => {
    if (path === 'recorder.confirmErasures' && ++calls < 3) throw new RpcError('TIMEOUT', 'too slow')
  }
  const { lines } = watch(async () => {
    if (++passes === 1) throw new Error('ENOSPC: no space left on device')
    return new Map(passes === 2 ? [[erasure.userId, 5]] : [])
  })
  plane.erase(erasure)
  await eventually(() => expect(plane.confirmed).toEqual([{ erasureId: erasure.erasureId, records: 5 }]))
  expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(3)
})

test('a control plane that gives erasures without an end fills no memory', async () => {
  let finish = (_counts: Map<string, number>) => {}
  watch(
    () =>
      new Promise(resolve => {
        finish = resolve
      }),
  )
  const max = 10 * limits.maxUnconfirmed
  for (let count = 0; count < max + 5; count++) plane.erase(erasureOf())
  const confirmed = async () => {
    finish(new Map())
    return plane.confirmed.length
  }
  await eventually(async () => expect(await confirmed()).toBe(max))
})

test('a link that is closed for good ends the attempts', async () => {
  const closed = new RpcError<string>('FORBIDDEN', 'the key was revoked', { reason: 'key_revoked', mayHaveRun: false })
  plane.before = () => {
    throw closed
  }
  const { lines, watching } = watch(async () => new Map())
  plane.erase(erasureOf())
  await watching.stop()
  expect(lines).toEqual([])
})

test.each([true, false])('an outbox that is empty (%s) at the end is reported as such', async isEmpty => {
  const { watching, outbox } = watch(async () => new Map(), { isEmpty })
  await watching.stop()
  await watching.retire()
  expect(plane.retired).toEqual(isEmpty ? [outbox.id] : [])
})

test('a daemon rejects requests of an erased user, also if it knows the key still, and records nothing of them', async () => {
  provider.respondWith(json({ id: 'msg_1', usage: { input_tokens: 1, output_tokens: 1 } }))
  const bridge = await startBridge(plane, {}, testKey)
  onTestFinished(() => bridge.close())
  expect((await send(bridge)).status).toBe(200)
  await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(1))
  plane.erase(erasureOf(testOwner.ownerId))
  await eventually(() => expect(plane.confirmed).toHaveLength(1))
  const before = plane.records.length
  const response = await send(bridge)
  expect([response.status, response.headers['x-should-retry']]).toEqual([401, 'false'])
  expect(plane.records).toHaveLength(before)
  expect(provider.calls).toHaveLength(1)
})

test('an erasure is confirmed behind the response to an interception that was being recorded, also if it fails', async () => {
  for (const isLost of [false, true]) {
    const bridge = await startBridge(plane)
    provider.respondWith(json({ id: 'msg_1' }))
    let respond = () => {}
    const called = new Promise<void>(resolve => {
      plane.after = path => {
        if (path !== 'recorder.recordInterception') return
        resolve()
        return new Promise((resolve, reject) => {
          respond = isLost ? () => reject(new RpcError('TIMEOUT', 'too slow', { mayHaveRun: true })) : resolve
        })
      }
    })
    plane.confirmed.splice(0)
    const response = send(bridge)
    await called
    const erasure = erasureOf(testOwner.ownerId)
    plane.erase(erasure)
    await new Promise(setImmediate)
    await new Promise(setImmediate)
    expect(plane.confirmed).toEqual([])
    respond()
    await eventually(() => expect(plane.confirmed).toEqual([{ erasureId: erasure.erasureId, records: 0 }]))
    await response
    plane.after = () => {}
    await bridge.close()
  }
})
