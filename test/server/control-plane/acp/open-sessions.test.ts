/** The sessions of a connection: nothing is left of them, their work is bounded, and it is done in order. */
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { ChatEvent } from '../../../../shared/contract/chats.js'
import { promptOf } from '../../../fixtures/acp/acp-peer.js'
import { chatAgent, gate, known, waiting } from '../../../fixtures/acp/chat-agent.js'

const load = { sessionId: known, cwd: '/', mcpServers: [] }
const turn = { ...waiting, status: 'running' } as ChatEvent
const message = { seq: 1, createdAt: new Date(0), usage: null, interceptionId: null, interrupted: false }
const text = (value: string) => [{ type: 'text' as const, text: value }]

describe('a client that leaves', () => {
  test.each(['session/load', 'session/resume', 'session/new'])('during %s leaves no watch', async method => {
    const { opened, open } = gate()
    const asked = gate()
    const slow = async () => {
      asked.open()
      await opened
      return {} as never // nothing of it is read
    }
    const { peer, leave, watches } = chatAgent({ find: slow, create: slow })
    peer.ask(method, load)
    await asked.opened
    leave()
    await peer.closed()
    open()
    await new Promise(resolve => setImmediate(resolve))
    expect(watches).toEqual([])
  })

  test('a client that leaves while it loads a session again and again leaves no watch', async () => {
    const { peer, leave, live, watches } = chatAgent()
    for (let i = 0; i < 100; i++) peer.ask('session/load', load)
    await expect.poll(() => watches.length, { interval: 2 }).toBeGreaterThan(0)
    leave()
    await peer.closed()
    await expect.poll(() => live.size, { interval: 2 }).toBe(0)
  })

  test('a prompt of a client that has left is sent all the same', async () => {
    const { opened, open } = gate()
    const sent: unknown[] = []
    const { peer, leave } = chatAgent({
      async send(input) {
        sent.push(input.parts)
        await opened
        return { state: 'queued' }
      },
    })
    await peer.request('session/load', load)
    peer.ask('session/prompt', promptOf(known, 'one'))
    peer.ask('session/prompt', promptOf(known, 'two'))
    await expect.poll(() => sent.length, { interval: 2 }).toBe(1)
    leave()
    await peer.closed()
    open()
    await expect.poll(() => sent, { interval: 2 }).toEqual([text('one'), text('two')])
  })
})

describe('a session that is loaded', () => {
  test('a session that is loaded again and again is watched once, and all but the last load are overtaken', async () => {
    const { peer, live } = chatAgent({}, [])
    const ids = Array.from({ length: 20 }, () => peer.ask('session/load', load))
    for (const id of ids.slice(0, -1)) expect((await peer.responseTo(id)).error).toMatchObject({ code: -32_800 })
    await expect.poll(() => live.size, { interval: 2 }).toBe(1)
    for (const watch of live) watch.give(waiting)
    expect((await peer.responseTo(ids.at(-1))).result).toEqual({})
    expect(live.size).toBe(1)
  })

  test('a session that is closed while it is loaded has a response for both', async () => {
    const { peer, live, watches } = chatAgent({}, [])
    const loading = peer.ask('session/load', load)
    await expect.poll(() => watches.length, { interval: 2 }).toBe(1)
    expect(await peer.request('session/close', { sessionId: known })).toEqual({})
    expect((await peer.responseTo(loading)).error).toMatchObject({ code: -32_800 })
    expect(live.size).toBe(0)
  })

  test('a session that is loaded while its prompt runs goes on with the prompt', async () => {
    let id = ''
    const { peer, watches } = chatAgent({
      async send(input) {
        id = input.id
        return { state: 'stored', seq: 1 }
      },
    })
    await peer.request('session/load', load)
    const prompt = peer.ask('session/prompt', promptOf(known, 'hi'))
    await expect.poll(() => id, { interval: 2 }).not.toBe('')
    const begun: ChatEvent[] = [
      { kind: 'message', message: { ...message, id, role: 'user', parts: text('hi'), finishReason: null } },
      turn,
    ]
    watches[0]?.give(...begun)
    const loading = peer.ask('session/load', load)
    await expect.poll(() => watches.length, { interval: 2 }).toBe(2)
    watches[1]?.give(...begun, { kind: 'queue_update', queue: [] })
    expect((await peer.responseTo(loading)).result).toEqual({})
    const answer = { ...message, id: randomUUID(), role: 'assistant' as const, parts: text('yes') }
    watches[1]?.give({ kind: 'message', message: { ...answer, finishReason: 'max_tokens' } }, waiting)
    expect((await peer.responseTo(prompt)).result).toEqual({ stopReason: 'max_tokens' })
    expect(peer.texts.at(-1)).toBe('yes')
  })

  test('a load may fail while a prompt is being stored', async () => {
    const { opened, open } = gate()
    const asked = gate()
    const { peer, watches } = chatAgent({
      async send() {
        asked.open()
        await opened
        return { state: 'stored', seq: 1 }
      },
    })
    await peer.request('session/load', load)
    const prompt = peer.ask('session/prompt', promptOf(known, 'hi'))
    await asked.opened
    watches[0]?.fail(new Error('the store is gone'))
    await new Promise(resolve => setImmediate(resolve))
    open()
    expect((await peer.responseTo(prompt)).error).toMatchObject({ code: -32_603 })
    expect(await peer.failure('session/prompt', promptOf(known, 'hi'))).toMatchObject({ code: -32_002 })
  })
})

test('a session above 64 is rejected before its chat is made, and a closed one frees a place', async () => {
  const { peer, created, live } = chatAgent()
  const params = { cwd: '/', mcpServers: [] }
  const ids = Array.from({ length: 70 }, () => peer.ask('session/new', params))
  const responses = await Promise.all(ids.map(id => peer.responseTo(id)))
  const opened = responses.flatMap(({ result }) => (result ? [result as { sessionId: string }] : [])) // of session/new
  expect([opened.length, created.length, live.size]).toEqual([64, 64, 64])
  expect(responses.at(-1)?.error?.message).toContain('64 sessions are open on this connection')
  expect(await peer.failure('session/load', load)).toMatchObject({ code: -32_603 })
  await peer.request('session/close', { sessionId: opened[0]?.sessionId })
  await peer.request('session/load', load)
  expect(live.size).toBe(64)
})

describe('session/cancel', () => {
  test('a flood of cancels is one interrupt at work and one behind it', async () => {
    const { opened, open } = gate()
    let interrupts = 0
    const { peer } = chatAgent({
      async interrupt() {
        interrupts++
        await opened
        return {}
      },
    })
    // The first is at work when the others come.
    for (const cancels of [1, 999]) {
      for (let i = 0; i < cancels; i++) peer.notify('session/cancel', { sessionId: known })
      await peer.request('session/load', { ...load, sessionId: randomUUID() })
      expect(interrupts).toBe(1)
    }
    open()
    await peer.request('session/close', { sessionId: known })
    expect(interrupts).toBe(3) // with that of the close
  })

  test('a client that cancels many sessions at once is held back', async () => {
    const { opened, open } = gate()
    let interrupts = 0
    const { peer } = chatAgent({
      async interrupt() {
        interrupts++
        await opened
        return {}
      },
    })
    for (let i = 0; i < 1_000; i++) peer.notify('session/cancel', { sessionId: randomUUID() })
    const last = peer.ask('session/list')
    await expect.poll(() => interrupts, { interval: 2 }).toBe(16)
    await new Promise(resolve => setImmediate(resolve))
    expect(interrupts).toBe(16)
    open()
    await peer.responseTo(last)
    await expect.poll(() => interrupts, { interval: 2 }).toBe(1_000)
  })

  test('a cancel reaches the prompts before it, and not those behind it', async () => {
    const { opened, open } = gate()
    const order: string[] = []
    const { peer } = chatAgent({
      async send({ parts }) {
        await opened
        const [part] = parts
        order.push(part?.type === 'text' ? part.text : '')
        return { state: 'stored', seq: 1 }
      },
      async interrupt() {
        order.push('interrupt')
        return {}
      },
    })
    await peer.request('session/load', load)
    peer.ask('session/prompt', promptOf(known, 'one'))
    peer.notify('session/cancel', { sessionId: known })
    peer.ask('session/prompt', promptOf(known, 'two'))
    peer.notify('session/cancel', { sessionId: known })
    open()
    await expect.poll(() => order, { interval: 2 }).toEqual(['one', 'interrupt', 'two', 'interrupt'])
  })
})
