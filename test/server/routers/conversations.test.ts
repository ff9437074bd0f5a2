import { randomBytes } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import { Conversations } from '../../../client/bridge/injection/conversations.js'
import type { HiddenTurn, PinnedTool } from '../../../shared/contract/conversations.js'
import { conversationLimits as limits } from '../../../shared/contract/limits.js'
import type { JsonObject, JsonValue } from '../../../shared/values/text.js'
import { admin, daemon, deployments, oneStore, rejectionOf, startServer } from '../services/running-server.js'

const tool = (description = 'reads a page', inputSchema: JsonObject = { type: 'object' }): PinnedTool => ({
  fullName: 'bmcp_wiki_read',
  bareName: 'read',
  serverId: 'wiki',
  serverUrl: 'https://wiki.example.com/mcp',
  description,
  inputSchema,
})
const turn = (...rounds: JsonObject[]): HiddenTurn => ({ api: 'anthropic-messages', anchors: ['toolu_1'], rounds })
/** A turn of a number of bytes of JSON. */
const turnOf = (bytes: number) => {
  const empty = JSON.stringify(turn({ text: '' })).length
  return turn({ text: 'x'.repeat(bytes - empty) })
}
const nested = (levels: number): JsonValue => (levels === 0 ? 1 : [nested(levels - 1)])

describe.each(deployments)('$name', deployment => {
  const store = oneStore(deployment)
  async function connect() {
    const { connect } = await startServer(store(), {}, deployment)
    const { admin: operator } = connect(admin)
    const { id: userId } = await operator.users.create.mutate({ username: `ada-${uuidv7().slice(-8)}` })
    const bridge = connect(daemon)
    const place = { userId, key: randomBytes(32).toString('hex') }
    const keep = (hidden: HiddenTurn, id = uuidv7()) => bridge.conversations.keep.mutate({ ...place, id, turn: hidden })
    return {
      operator,
      bridge,
      place,
      keep,
      read: async () => {
        const places = { isShared: false, all: [place] } as const
        const found = await new Conversations(bridge).find(places, new AbortController().signal)
        return found ?? { tools: undefined, turns: [] }
      },
    }
  }

  test('a conversation gives back what was pinned and kept, to the character', async () => {
    const { bridge, place, keep, read } = await connect()
    const strange: JsonObject = { z: 'a\0b\ud800', a: 0.1, 2: [], 1: {} }
    Object.defineProperty(strange, '__proto__', { value: 1, enumerable: true })
    const tools = [tool('\0', strange)]
    expect(await read()).toEqual({ tools: undefined, turns: [] })
    expect(JSON.stringify(await bridge.conversations.pin.mutate({ ...place, tools }))).toBe(JSON.stringify({ tools }))
    const others = [tool('else')]
    expect(await bridge.conversations.pin.mutate({ ...place, tools: others })).toEqual({ tools })
    expect(await bridge.conversations.pin.mutate({ ...place, tools: others, replaces: true })).toEqual({
      tools: others,
    })
    await bridge.conversations.pin.mutate({ ...place, tools, replaces: true })
    const turns = [turn(strange), turn({ 1: 1 }, { 2: 2 })]
    for (const each of turns) await keep(each)
    expect(JSON.stringify(await read())).toBe(JSON.stringify({ tools, turns }))
    const { hasConversations } = await bridge.mcpConfigurator.getServerConfigs.query(place)
    expect(hasConversations).toBe(true)
  })

  test('users without a conversation have none', async () => {
    const { bridge, place } = await connect()
    expect(await bridge.mcpConfigurator.getServerConfigs.query(place)).toMatchObject({ hasConversations: false })
  })

  test('a kept turn may be kept again, and an id means one turn', async () => {
    const { keep, read } = await connect()
    const id = uuidv7()
    for (let time = 0; time < 2; time++) expect(await keep(turn({ a: 1 }), id)).toEqual({})
    expect(await rejectionOf(keep(turn({ a: 2 }), id))).toMatchObject({ reason: 'content_differs' })
    expect((await read()).turns).toEqual([turn({ a: 1 })])
  })

  // The sizes matter to the link, not to the store.
  test.skipIf(!deployment.name.includes('PostgreSQL'))(
    'the largest list and the largest turns are taken and given back, in as many pages as it takes',
    async () => {
      const { bridge, place, keep, read } = await connect()
      const tools = [
        tool('', { text: 'x'.repeat(limits.maxToolsBytes - JSON.stringify([tool('', { text: '' })]).length) }),
      ]
      await bridge.conversations.pin.mutate({ ...place, tools })
      const containers = turn({ list: Array.from({ length: limits.maxTurnContainers - 5 }, () => ({})) })
      const turns = [turnOf(limits.maxTurnBytes), containers, containers, turn({ deep: nested(510) })]
      for (const each of turns) await keep(each)
      expect(await read()).toEqual({ tools, turns })
    },
  )

  test('larger ones are rejected, with both numbers', async () => {
    const { bridge, place, keep, read } = await connect()
    const full = { code: 'PRECONDITION_FAILED', reason: 'conversation_full' }
    expect(await rejectionOf(keep(turnOf(limits.maxTurnBytes + 1)))).toMatchObject({
      ...full,
      message: 'turn: 3,145,729 bytes are more than 3,145,728',
    })
    const containers = turn({ list: Array.from({ length: limits.maxTurnContainers }, () => []) })
    expect(await rejectionOf(keep(containers))).toMatchObject({ ...full, message: expect.stringContaining('65,536') })
    const deep = turn({ deep: nested(limits.maxDepth) })
    expect(await rejectionOf(keep(deep))).toMatchObject({ message: expect.stringContaining('512 levels') })
    const tools = [tool('', { text: 'x'.repeat(limits.maxToolsBytes) })]
    expect(await rejectionOf(bridge.conversations.pin.mutate({ ...place, tools }))).toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringMatching(/^tools: .* more than 1,048,576/),
    })
    expect(await read()).toEqual({ tools: undefined, turns: [] })
  })

  test('an unknown, deleted or erased user has no conversations, and a purge counts those it erased', async () => {
    const { operator, bridge, place, keep } = await connect()
    await keep(turn({ a: 1 }))
    await bridge.conversations.pin.mutate({ ...place, key: randomBytes(32).toString('hex'), tools: [tool()] })
    const rejectionsOf = (userId: string) =>
      Promise.all([
        rejectionOf(bridge.conversations.open.query({ ...place, userId })),
        rejectionOf(bridge.conversations.pin.mutate({ ...place, userId, tools: [tool()] })),
        rejectionOf(bridge.conversations.keep.mutate({ ...place, userId, id: uuidv7(), turn: turn({}) })),
      ])
    const rejected = expect.objectContaining({
      code: 'NOT_FOUND',
      reason: 'unknown_row',
      message: expect.stringContaining('no user'),
    })
    expect(await rejectionsOf(uuidv7())).toEqual([rejected, rejected, rejected])
    await operator.users.delete.mutate({ user: place.userId })
    expect(await rejectionsOf(place.userId)).toEqual([rejected, rejected, rejected])
    const purged = await operator.users.purge.mutate({ user: place.userId })
    expect(purged).toMatchObject({ done: true, conversations: 2 })
    expect(await rejectionsOf(place.userId)).toEqual([rejected, rejected, rejected])
    const { entries } = await operator.audit.list.query({ action: 'users.purge', target: place.userId })
    expect(entries.map(({ details }) => details?.conversations)).toEqual([2, 0])
  })
})

test('a conversation has the limits of the contract', async () => {
  // Two thousand turns through the store would take long; the store's own test has the rule.
  const { createConversations } = await import('../../../server/services/daemon/conversations.js')
  const { keep } = createConversations({
    store: {
      openConversation: async () => null,
      pinTools: async () => null,
      keepTurn: async (_place, _turn, sums) => {
        expect(sums).toEqual({ maxTurns: limits.maxTurns, maxBytes: limits.maxTurnsBytes })
        return 'kept' as const
      },
      hasConversations: async () => false,
      eraseOldConversations: async () => 0,
      eraseConversationsOf: async () => 0,
    },
  })
  expect.assertions(2)
  expect(await keep({ userId: uuidv7(), key: 'ab'.repeat(32), id: uuidv7(), turn: turn({}) })).toEqual({})
})
