import { initTRPC } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { UnauthenticatedPeer } from '../../../server/rpc/unauthenticated-peer.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { links } from '../../fixtures/links.js'
import { gate, peer } from '../../fixtures/peer.js'

const t = initTRPC.context<object>().create()
const router = t.router({ size: t.procedure.input(z.unknown()).query(({ input }) => JSON.stringify(input).length) })
const call = (id: number, input: unknown) => ({ id, method: 'query', params: { path: 'size', input } })
const params = (length: number) => ({ method: 'connectionParams', data: { key: 'x'.repeat(length) } })
const never = () => new Promise<object>(() => {})

describe.each(links)('before authentication, $name', ({ dialRaw }) => {
  leavesNothing()

  it('1,024 PINGs get a PONG each, and one more closes with 1008', async () => {
    const { duplex } = await dialRaw(router, { createContext: never })
    const { send, until, closed, received } = peer(duplex)
    for (let count = 0; count < 1_024; count++) send('PING')
    await until(1_024)
    send('PING')
    expect(await closed).toMatchObject({ code: 1008, message: 'more than 1,024 pings before authentication' })
    expect(received).toEqual(new Array(1_024).fill('PONG'))
  })

  it('a first frame of 64 KiB is taken, a longer one closes with 1008', async () => {
    const keys: unknown[] = []
    const connectWith = async (length: number) => {
      const { duplex } = await dialRaw(router, {
        expectConnectionParams: true,
        createContext: ({ connectionParams }) => ({ length: keys.push(connectionParams?.key?.length) }),
      })
      const ends = peer(duplex)
      ends.send(params(length))
      ends.send(call(1, 'x'))
      return ends
    }
    expect(await (await connectWith(64_000)).until(1)).toMatchObject([{ id: 1, result: { data: 3 } }])
    const { closed } = await connectWith(65_600)
    expect(await closed).toMatchObject({ code: 1008, message: 'a first frame of more than 65,536 bytes' })
    expect(keys).toEqual([64_000])
  })

  it('frames behind the first one wait for the context, and run', async () => {
    const context = gate<object>()
    const { duplex } = await dialRaw(router, { expectConnectionParams: true, createContext: () => context.passed })
    const { send, until } = peer(duplex)
    send(params(10))
    for (const id of [1, 2, 3]) send(call(id, 'x'.repeat(1_000_000)))
    send('PING')
    await until(1)
    context.open({})
    expect(await until(4)).toMatchObject(['PONG', ...[1, 2, 3].map(id => ({ id, result: { data: 1_000_002 } }))])
  })

  it.each<[string, unknown, number]>([
    ['text', 'x'.repeat(1_500_000), 3],
    ['empty arrays, which take far more memory than text', new Array(40_000).fill([]), 2],
    ['stops, which leave nothing in memory', undefined, 16_384],
  ])('more than 4 MiB in memory close with 1008: %s', async (_, input, count) => {
    const { duplex } = await dialRaw(router, { createContext: never })
    const { send, closed } = peer(duplex)
    for (let id = 0; id < count; id++) send(input === undefined ? { id, method: 'subscription.stop' } : call(id, input))
    expect(await closed).toMatchObject({ code: 1008, message: 'more than 4,194,304 bytes before authentication' })
  })

  it('with its context a peer has the limits of every connection', async () => {
    const { duplex } = await dialRaw(router, { createContext: async () => ({}) })
    const { send, until } = peer(duplex)
    send(call(1, 'x'))
    await until(1)
    for (let count = 0; count < 2_000; count++) send('PING')
    for (const id of [2, 3, 4]) send(call(id, 'x'.repeat(1_500_000)))
    expect((await until(2_004)).slice(-3)).toMatchObject([2, 3, 4].map(id => ({ id, result: { data: 1_500_002 } })))
  })
})

describe('all unauthenticated peers of a group', () => {
  const frame = { text: 'x'.repeat(4_000_000) }
  const send = (one: UnauthenticatedPeer): string | undefined => one.take(frame, 4_000_000)

  it('share 64 MiB, and a released peer gives its part back', () => {
    const group = new ConnectionGroup()
    const peers = Array.from({ length: 17 }, () => new UnauthenticatedPeer(group))
    expect(peers.map(send)).toEqual([
      ...new Array(16).fill(undefined),
      'all unauthenticated peers together sent more than 67,108,864 bytes',
    ])
    for (const one of peers) one.release()
    expect(peers.map(send)[15]).toBeUndefined()
  })

  it('another group has its own 64 MiB', () => {
    const group = new ConnectionGroup()
    for (let count = 0; count < 16; count++) send(new UnauthenticatedPeer(group))
    expect(send(new UnauthenticatedPeer(new ConnectionGroup()))).toBeUndefined()
    expect(send(new UnauthenticatedPeer(undefined))).toBeUndefined()
  })

  it('a part of a message counts until the message is complete', () => {
    const group = new ConnectionGroup()
    for (let count = 0; count < 1_000; count++) {
      const one = new UnauthenticatedPeer(group)
      expect(one.takePart(100_000)).toBeUndefined()
      one.endPart()
    }
    const waiting = Array.from({ length: 700 }, () => new UnauthenticatedPeer(group).takePart(100_000))
    expect(waiting[600]).toBeUndefined()
    expect(waiting[699]).toMatch(/^all unauthenticated/)
  })
})
