import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store, StoredRecord } from '../../../../server/store/store.js'
import { fc } from '../../../fixtures/random.js'
import { stores } from '../../../fixtures/stores.js'
import { ended, interception, promptUsage, secondsLater, tokenUsage, toolUsage } from './records.js'

describe.each(stores)('lineage in the store: $name', ({ openTwo }) => {
  let store: Store
  /** of another server */
  let other: Store
  beforeAll(async () => {
    const opened = await openTwo()
    store = opened[0]
    other = opened[1]
  })
  afterAll(async () => {
    await store.close()
    await other.close()
  })

  const lineageOf = async (id: string) => {
    const detail = await store.getInterception(id)
    return { parent: detail?.interception.parentId, root: detail?.interception.rootId }
  }
  const lineagesOf = async (initiatorId: string) => {
    const newestFirst = await store.listInterceptions({ limit: 1000, initiatorId })
    return newestFirst.toReversed().map(({ id, parentId, rootId }) => [id, { parent: parentId, root: rootId }])
  }
  const recordAll = async (records: readonly StoredRecord[]) => {
    for (const record of records) expect(await store.record([record])).toEqual([{ ok: true }])
  }

  /** Each interception is followed by its records; all else is at once. */
  const recordAtOnce = async (families: readonly (readonly StoredRecord[])[]) => {
    const servers = [store, other]
    await Promise.all(
      families.map(async ([parent, ...usages], i) => {
        if (parent) await servers[i % 2]?.record([parent])
        await Promise.all(usages.map((usage, at) => servers[(i + at) % 2]?.record([usage])))
      }),
    )
  }

  test('the interception that continues a tool call has the caller as parent and root, whichever comes last', async () => {
    for (const toolFirst of [true, false]) {
      const initiatorId = randomUUID()
      const parent = interception({ initiatorId })
      const tool = toolUsage(parent.record.id, { toolCallId: 'toolu_1' })
      const child = interception({ initiatorId, correlatingToolCallId: 'toolu_1' })
      await recordAll(toolFirst ? [parent, tool, child] : [parent, child, tool])
      expect(await lineageOf(child.record.id)).toEqual({ parent: parent.record.id, root: parent.record.id })
      expect(await lineageOf(parent.record.id)).toEqual({ parent: null, root: null })
    }
  })

  test('without a match parent and root are null', async () => {
    const child = interception({ correlatingToolCallId: 'toolu_nobody' })
    await recordAll([child])
    expect(await lineageOf(child.record.id)).toEqual({ parent: null, root: null })
  })

  test('a tool call of another initiator gives no lineage', async () => {
    const parent = interception()
    const child = interception({ correlatingToolCallId: 'toolu_shared' })
    await recordAll([parent, child, toolUsage(parent.record.id, { toolCallId: 'toolu_shared' })])
    expect(await lineageOf(child.record.id)).toEqual({ parent: null, root: null })
  })

  test('an interception is not its own parent', async () => {
    const self = interception({ correlatingToolCallId: 'toolu_self' })
    await recordAll([self, toolUsage(self.record.id, { toolCallId: 'toolu_self' })])
    expect(await lineageOf(self.record.id)).toEqual({ parent: null, root: null })
  })

  test('its own newer tool usage does not hide the older one of another', async () => {
    const initiatorId = randomUUID()
    const parent = interception({ initiatorId })
    const self = interception({ initiatorId, correlatingToolCallId: 'toolu' })
    await recordAll([
      parent,
      self,
      toolUsage(parent.record.id, { toolCallId: 'toolu' }),
      toolUsage(self.record.id, { toolCallId: 'toolu', createdAt: secondsLater(10) }),
    ])
    expect(await lineageOf(self.record.id)).toEqual({ parent: parent.record.id, root: parent.record.id })
  })

  test('a conflicting tool usage changes no lineage', async () => {
    const initiatorId = randomUUID()
    const parent = interception({ initiatorId })
    const tool = toolUsage(parent.record.id, { toolCallId: 'a' })
    const child = interception({ initiatorId, correlatingToolCallId: 'b' })
    await recordAll([parent, tool, child])
    await store.record([toolUsage(parent.record.id, { id: tool.record.id, toolCallId: 'b' })])
    expect(await lineageOf(child.record.id)).toEqual({ parent: null, root: null })
  })

  test('of several tool usages the newest gives the parent, of two at one time that with the larger id', async () => {
    for (const order of permutations([0, 1, 2])) {
      const initiatorId = randomUUID()
      const [low = '', high = ''] = [randomUUID(), randomUUID()].sort()
      const parents = [0, 1, 2].map(() => interception({ initiatorId }))
      const [a = '', b = '', c = ''] = parents.map(({ record }) => record.id)
      const tools = [
        toolUsage(a, { toolCallId: 'toolu' }),
        toolUsage(b, { toolCallId: 'toolu', createdAt: secondsLater(1), id: high }),
        toolUsage(c, { toolCallId: 'toolu', createdAt: secondsLater(1), id: low }),
      ]
      const child = interception({ initiatorId, correlatingToolCallId: 'toolu' })
      await recordAll([...parents, child, ...order.flatMap(i => tools[i] ?? [])])
      expect(await lineageOf(child.record.id)).toEqual({ parent: b, root: b })
    }
  })

  test('a chain of four has one root in whatever order its records come', async () => {
    for (const order of permutations([0, 1, 2, 3])) {
      const { initiatorId, links, expected } = chain(4)
      await recordAll(order.flatMap(i => links[i] ?? []))
      expect(await lineagesOf(initiatorId)).toEqual(expected)
    }
  })

  test('a chain of four has one root where all interceptions come before all tool usages, in every order', async () => {
    for (const order of permutations([0, 1, 2, 3])) {
      const { initiatorId, links, expected } = chain(4)
      await store.record(links.flatMap(link => link.slice(0, 1)))
      await recordAll(order.flatMap(i => links[i]?.slice(1) ?? []))
      expect(await lineagesOf(initiatorId)).toEqual(expected)
    }
  })

  test('a chain in one batch has one root in whatever order it stands', async () => {
    for (const order of permutations([0, 1, 2, 3])) {
      const { initiatorId, links, expected } = chain(4)
      await store.record(order.flatMap(i => links[i] ?? []))
      expect(await lineagesOf(initiatorId)).toEqual(expected)
    }
  })

  test('concurrent calls give a chain one root', async () => {
    const { initiatorId, links, expected } = chain(12)
    await Promise.all(links.map(async link => recordAll([...link, ended(link[0]?.record.id ?? '')])))
    expect(await lineagesOf(initiatorId)).toEqual(expected)
  })

  test('a chain of 300 that grows at its top keeps one root', async () => {
    const { initiatorId, links, expected } = chain(300)
    await store.record(links.flatMap(link => link.slice(0, 1)))
    await store.record(links.flatMap(link => link.slice(1)).toReversed())
    expect(await lineagesOf(initiatorId)).toEqual(expected)
  })

  test('a newer tool usage moves an interception and all that continue it to another root', async () => {
    const initiatorId = randomUUID()
    const [a, b] = [interception({ initiatorId }), interception({ initiatorId })]
    const child = interception({ initiatorId, correlatingToolCallId: 'toolu_1' })
    const grandchild = interception({ initiatorId, correlatingToolCallId: 'toolu_2' })
    await recordAll([
      a,
      b,
      toolUsage(a.record.id, { toolCallId: 'toolu_1' }),
      child,
      toolUsage(child.record.id, { toolCallId: 'toolu_2' }),
      grandchild,
    ])
    expect(await lineageOf(grandchild.record.id)).toEqual({ parent: child.record.id, root: a.record.id })
    await recordAll([toolUsage(b.record.id, { toolCallId: 'toolu_1', createdAt: secondsLater(1) })])
    expect(await lineageOf(child.record.id)).toEqual({ parent: b.record.id, root: b.record.id })
    expect(await lineageOf(grandchild.record.id)).toEqual({ parent: child.record.id, root: b.record.id })
  })

  test('a circle is left open at its oldest interception, in whatever order it comes', async () => {
    for (const order of permutations([0, 1, 2])) {
      const initiatorId = randomUUID()
      const parts = [0, 1, 2].map(i => {
        const link = interception({
          initiatorId,
          correlatingToolCallId: `call ${(i + 2) % 3}`,
          startedAt: secondsLater(i),
        })
        return [link, toolUsage(link.record.id, { toolCallId: `call ${i}` })]
      })
      const [a, b, c] = parts.map(part => part[0]?.record.id ?? '')
      const tail = interception({ initiatorId, correlatingToolCallId: 'call 2' })
      await recordAll([tail, ...order.flatMap(i => parts[i] ?? [])])
      expect(await lineageOf(a ?? '')).toEqual({ parent: null, root: null })
      expect(await lineageOf(b ?? '')).toEqual({ parent: a, root: a })
      expect(await lineageOf(c ?? '')).toEqual({ parent: b, root: a })
      expect(await lineageOf(tail.record.id)).toEqual({ parent: c, root: a })
    }
  })

  test('a link that breaks a circle restores the link that was left out', async () => {
    const initiatorId = randomUUID()
    const a = interception({ initiatorId, correlatingToolCallId: 'of b', startedAt: secondsLater(0) })
    const b = interception({ initiatorId, correlatingToolCallId: 'of a', startedAt: secondsLater(1) })
    const top = interception({ initiatorId, startedAt: secondsLater(2) })
    await recordAll([
      a,
      b,
      top,
      toolUsage(a.record.id, { toolCallId: 'of a' }),
      toolUsage(b.record.id, { toolCallId: 'of b' }),
    ])
    expect(await lineageOf(a.record.id)).toEqual({ parent: null, root: null })
    await recordAll([toolUsage(top.record.id, { toolCallId: 'of a', createdAt: secondsLater(9) })])
    expect(await lineageOf(b.record.id)).toEqual({ parent: top.record.id, root: top.record.id })
    expect(await lineageOf(a.record.id)).toEqual({ parent: b.record.id, root: top.record.id })
  })

  test.each([
    ['token usage', tokenUsage],
    ['prompt', promptUsage],
  ])('the interception that continues a response has its interception as parent, by the %s', async (_, usage) => {
    for (const usageFirst of [true, false]) {
      const initiatorId = randomUUID()
      const parent = interception({ initiatorId })
      const response = usage(parent.record.id, { msgId: 'resp_1' })
      const child = interception({ initiatorId, previousMsgId: 'resp_1' })
      const stranger = interception({ previousMsgId: 'resp_1' })
      await recordAll(usageFirst ? [parent, response, child, stranger] : [parent, child, stranger, response])
      expect(await lineageOf(child.record.id)).toEqual({ parent: parent.record.id, root: parent.record.id })
      expect(await lineageOf(stranger.record.id)).toEqual({ parent: null, root: null })
      expect(await lineageOf(parent.record.id)).toEqual({ parent: null, root: null })
    }
  })

  test('two continuations of one response have the same parent', async () => {
    const initiatorId = randomUUID()
    const parent = interception({ initiatorId })
    const [a, b] = [0, 1].map(i => interception({ initiatorId, previousMsgId: 'resp', startedAt: secondsLater(i) }))
    if (!a || !b) throw new Error('two interceptions were made')
    await recordAll([
      parent,
      tokenUsage(parent.record.id, { msgId: 'resp' }),
      a,
      tokenUsage(a.record.id, { msgId: 'a' }),
      b,
    ])
    for (const { record } of [a, b]) expect((await lineageOf(record.id)).parent).toBe(parent.record.id)
  })

  test('a tool call gives the lineage before a response does, and a response before a conversation, whichever comes last', async () => {
    for (const order of permutations([0, 1, 2])) {
      const initiatorId = randomUUID()
      const [byCall, byResponse, byConversation] = [
        interception({ initiatorId }),
        interception({ initiatorId }),
        interception({ initiatorId, conversationId: 'conv' }),
      ]
      const child = interception({
        initiatorId,
        correlatingToolCallId: 'call',
        previousMsgId: 'resp',
        conversationId: 'conv',
        startedAt: secondsLater(1),
      })
      const usages = [
        [byConversation],
        [byResponse, tokenUsage(byResponse.record.id, { msgId: 'resp' })],
        [byCall, toolUsage(byCall.record.id, { toolCallId: 'call' })],
      ]
      const parents = [byConversation, byResponse, byCall].map(({ record }) => record.id)
      await recordAll([child])
      let best = -1
      for (const i of order) {
        await recordAll(usages[i] ?? [])
        best = Math.max(best, i)
        expect((await lineageOf(child.record.id)).parent).toBe(parents[best])
      }
    }
  })

  test('interceptions of a conversation are a chain by their times, in whatever order they come', async () => {
    for (const order of permutations([0, 1, 2, 3])) {
      const initiatorId = randomUUID()
      const links = [0, 1, 2, 3].map(i =>
        interception({ initiatorId, conversationId: 'conv', startedAt: secondsLater(i) }),
      )
      const ids = links.map(({ record }) => record.id)
      await recordAll([
        interception({ conversationId: 'conv', startedAt: secondsLater(-1) }),
        interception({ initiatorId, conversationId: 'other', startedAt: secondsLater(-1) }),
      ])
      if (order[0] === 0) await store.record(order.flatMap(i => links[i] ?? []))
      else await recordAll(order.flatMap(i => links[i] ?? []))
      const lineages = await Promise.all(ids.map(lineageOf))
      expect(lineages).toEqual(ids.map((_, i) => ({ parent: ids[i - 1] ?? null, root: i > 0 ? ids[0] : null })))
    }
  })

  test('any records give the same lineage in any order, alone, in batches, or at once through two servers', async () => {
    const link = fc.record({
      calls: fc.integer({ min: 0, max: 3 }),
      correlates: fc.integer({ min: 0, max: 3 }),
      responds: fc.integer({ min: 0, max: 3 }),
      continues: fc.integer({ min: 0, max: 3 }),
      conversation: fc.integer({ min: 0, max: 1 }),
      links: fc.subarray(['call', 'response', 'conversation'] as const),
      at: fc.integer({ min: 0, max: 2 }),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(link, { minLength: 2, maxLength: 5 }),
        fc.infiniteStream(fc.nat()),
        fc.constantFrom('alone', 'in a batch', 'at once'),
        async (parts, random, way) => {
          const lineages = await Promise.all(
            [false, true].map(async shuffled => {
              const initiatorId = randomUUID()
              const suffix = initiatorId.slice(8)
              const id = (kind: number, i: number) => `${String(kind * 100 + i).padStart(8, '0')}${suffix}`
              const records = parts.map(({ calls, correlates, responds, continues, conversation, links, at }, i) => [
                interception({
                  id: id(1, i),
                  initiatorId,
                  ...(links.includes('call') && { correlatingToolCallId: `call ${correlates}` }),
                  ...(links.includes('response') && { previousMsgId: `resp ${continues}` }),
                  ...(links.includes('conversation') && { conversationId: `conv ${conversation}` }),
                  startedAt: secondsLater(at),
                }),
                toolUsage(id(1, i), { id: id(2, i), toolCallId: `call ${calls}`, createdAt: secondsLater(at) }),
                (at === 0 ? promptUsage : tokenUsage)(id(1, i), {
                  id: id(3, i),
                  msgId: `resp ${responds}`,
                  createdAt: secondsLater(at),
                }),
              ])
              if (shuffled) records.sort(() => (random.next().value % 2) - 0.5)
              if (shuffled && way === 'in a batch') await store.record(records.flat())
              else if (shuffled && way === 'at once') await recordAtOnce(records)
              else await recordAll(records.flat())
              const read = await Promise.all(parts.map((_, i) => lineageOf(id(1, i))))
              return read.map(({ parent, root }) => [parent?.slice(0, 8), root?.slice(0, 8)])
            }),
          )
          expect(lineages[1]).toEqual(lineages[0])
        },
      ),
      { numRuns: 45 },
    )
  })
})

/**
 * Interceptions of which each continues a tool call of the one before, each with the tool usage that the next
 * continues.
 */
function chain(length: number) {
  const initiatorId = randomUUID()
  const links = Array.from({ length }, (_, i) => {
    const link = interception({
      initiatorId,
      startedAt: secondsLater(i),
      ...(i > 0 && { correlatingToolCallId: `call ${i - 1}` }),
    })
    return [link, toolUsage(link.record.id, { toolCallId: `call ${i}`, createdAt: secondsLater(i) })] as const
  })
  const ids = links.map(([{ record }]) => record.id)
  const expected = ids.map(
    (id, i) => [id, { parent: ids[i - 1] ?? null, root: i > 0 ? (ids[0] ?? null) : null }] as const,
  )
  return { initiatorId, links, expected }
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]]
  return items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map(rest => [item, ...rest]))
}
