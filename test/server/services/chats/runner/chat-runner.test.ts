/** Runners of chats: turns, tools, retries, interrupts, takeovers, on both stores. */
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { storedParts } from '../../../../../server/services/chats/stored-parts.js'
import { beginTurn } from '../../../../../server/services/chats/turns.js'
import type { Store } from '../../../../../server/store/store.js'
import type { ProcessHost } from '../../../../../shared/contract/agents.js'
import { openAgent } from '../../../../client/agent/agent.js'
import { closeOpened } from '../../../../fixtures/leaves-nothing.js'
import { createGate, eventStream, eventsOf, json } from '../../../../fixtures/provider.js'
import { stores } from '../../../../fixtures/stores.js'
import { execute, messageStream, say } from '../anthropic-stream.js'
import { hostsOf, openChats } from './running-chats.js'

const second = 'second part'
const instanceId = randomUUID()
const realWaits = { retryMinMs: 1_000, retryMaxMs: 60_000 }

describe.each(stores)('chats that run, with $name', ({ open }) => {
  let store: Store
  let chats: Awaited<ReturnType<typeof openChats>>

  beforeEach(async () => {
    store = await open()
    chats = await openChats(store)
  })
  afterEach(async () => {
    await chats.close()
    await store.close()
    await closeOpened()
    expect(chats.provider.unexpected).toBe(0)
    expect(chats.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  const textsOf = (messages: { role: string; parts: object[] }[]) =>
    messages.map(
      ({ role, parts }) =>
        `${role}: ${parts.map(part => Reflect.get(part, 'text') ?? Reflect.get(part, 'output') ?? Reflect.get(part, 'type')).join('|')}`,
    )

  test('a turn calls the model once, and stores the response with usage and interception', async () => {
    chats.provider.respondWith(eventStream(messageStream(say('Hello', ' there'))))
    const { runner } = chats.startRunner()
    const id = await chats.newChat('hello')
    const { row, messages } = await chats.until(id, 'waiting')
    expect(textsOf(messages)).toEqual(['user: hello', 'assistant: Hello there'])
    expect(messages[1]).toMatchObject({
      usage: { inputTokens: 7, outputTokens: 5 },
      finishReason: 'end',
      interrupted: false,
    })
    expect(row).toMatchObject({ runner: null, leaseUntil: null, attempt: 0, lastError: null })
    const { interception } = await chats.admin.interceptions.get.query({ id: messages[1]?.interceptionId ?? '' })
    expect(interception).toMatchObject({ clientSessionId: id, initiatorId: chats.user.id })
    await expect.poll(() => runner.running).toBe(0)
  })

  test('a message that waits in the queue begins the next turn under the same lease', async () => {
    const gate = createGate()
    const stream = messageStream(say('one', second))
    const at = eventsOf(stream).findIndex(event => event.includes(second))
    chats.provider.respondWith(eventStream(stream, { [at]: gate }), eventStream(messageStream(say('two'))))
    chats.startRunner()
    const id = await chats.newChat('first')
    await chats.provider.call(0)
    await chats.send(id, 'next')
    gate.open()
    const { row, messages } = await chats.until(id, 'waiting')
    expect(textsOf(messages)).toEqual(['user: first', `assistant: one${second}`, 'user: next', 'assistant: two'])
    expect(row.fence).toBe(1)
    expect(chats.provider.calls).toHaveLength(2)
  })

  test('tools of one response run in parallel on the agent, and their results go into one message', async () => {
    const agent = await openAgent()
    chats.provider.respondWith(
      eventStream(
        messageStream(
          say('I look.'),
          execute('t1', 'echo one; exit 3'),
          execute('t2', 'cat missing; echo ran >> runs'),
          { type: 'tool_use', id: 't3', name: 'execute', input: '{"comm' },
          { type: 'tool_use', id: 't4', name: 'nonsense', input: {} },
        ),
      ),
      eventStream(messageStream(say('Done.'))),
    )
    chats.startRunner({ hosts: hostsOf({ host: agent.table, instanceId }) })
    const id = await chats.newChat('look', { withAgent: true, cwd: agent.folder })
    const { row, messages } = await chats.until(id, 'waiting')
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'assistant'])
    expect(messages[2]?.parts).toMatchObject([
      { toolCallId: 't1', isError: false, output: expect.stringMatching(/^one\n\[exit code 3 after \d\.\d\d s\]$/) },
      { toolCallId: 't2', isError: false, output: expect.stringContaining('exit code 0') },
      { toolCallId: 't3', isError: true, output: expect.stringContaining('no JSON') },
      { toolCallId: 't4', isError: true, output: expect.stringContaining('No tool is named "nonsense"') },
    ])
    expect(agent.lines('runs')).toEqual(['ran'])
    expect(row.agentInstance).toBeNull()
    const { tools, messages: sent } = JSON.parse(chats.provider.calls[1]?.body.toString() ?? '')
    expect(tools.map(({ name }: { name: string }) => name)).toEqual([
      'execute',
      'process_output',
      'process_list',
      'process_signal',
    ])
    expect(sent.at(-1).content).toHaveLength(4)
  })

  test('a chat without an agent has no tools, and a call of one is an error for the model', async () => {
    chats.provider.respondWith(
      eventStream(messageStream(execute('t1', 'echo one'))),
      eventStream(messageStream(say('Sorry.'))),
    )
    chats.startRunner()
    const { messages } = await chats.until(await chats.newChat('look'), 'waiting')
    expect(messages[2]?.parts).toMatchObject([{ isError: true, output: expect.stringContaining('no agent') }])
    expect(JSON.parse(chats.provider.calls[0]?.body.toString() ?? '')).not.toHaveProperty('tools')
  })

  test('an agent that is away is an error for the model, which says so', async () => {
    chats.provider.respondWith(
      eventStream(messageStream(execute('t1', 'echo one'))),
      eventStream(messageStream(say('Sorry.'))),
    )
    chats.startRunner()
    const { messages } = await chats.until(await chats.newChat('look', { withAgent: true }), 'waiting')
    expect(messages[2]?.parts).toMatchObject([{ isError: true, output: expect.stringContaining('not connected') }])
  })

  test('a turn of too many steps fails with too_many_steps', async () => {
    for (const id of ['t1', 't2']) chats.provider.respondWith(eventStream(messageStream(execute(id, 'x'))))
    chats.startRunner({ limits: { maxSteps: 2 } })
    const { row } = await chats.until(await chats.newChat('look'), 'error')
    expect(row.lastError).toMatchObject({ reason: 'too_many_steps' })
    expect(chats.provider.calls).toHaveLength(2)
  })

  test('429 is tried again when Retry-After has passed', async () => {
    const waits: number[] = []
    chats.provider.respondWith(json({}, 429, { 'retry-after': '7' }), eventStream(messageStream(say('Hello'))))
    const start = new Date()
    chats.startRunner({
      now: () => start,
      pause: async ms => void waits.push(ms),
      limits: realWaits,
    })
    const id = await chats.newChat('hello')
    const { messages } = await chats.until(id, 'waiting')
    expect(textsOf(messages)).toEqual(['user: hello', 'assistant: Hello'])
    expect(waits).toEqual([7_000])
  })

  test('529 again and again fails the turn at the eighth attempt', async () => {
    for (let times = 0; times < 8; times++) chats.provider.respondWith(json({}, 529))
    const waits: number[] = []
    const start = new Date()
    chats.startRunner({ now: () => start, random: () => 1, pause: async ms => void waits.push(ms), limits: realWaits })
    const { row } = await chats.until(await chats.newChat('hello'), 'error')
    expect(row).toMatchObject({ attempt: 8, runner: null, lastError: { reason: 'too_many_attempts' } })
    // Behind five failures in a row the bridge itself rejects, and names the time of its next try.
    expect(chats.provider.calls).toHaveLength(5)
    expect(waits.slice(0, 5)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000])
    expect(waits).toHaveLength(7)
    expect(
      chats.lines.flatMap(({ level, fields }) => (level === 'error' ? Reflect.get(fields, 'rejection') : [])),
    ).toEqual(Array(3).fill('breaker_open'))
    chats.lines.length = 0
  })

  test("400 fails the turn at once, with the provider's message", async () => {
    const error = { type: 'error', error: { type: 'invalid_request_error', message: 'no such model' } }
    chats.provider.respondWith(json(error, 400))
    chats.startRunner()
    const { row } = await chats.until(await chats.newChat('hello'), 'error')
    expect(row.lastError).toEqual({ reason: 'rejected', message: 'no such model', status: 400 })
    expect(chats.provider.calls).toHaveLength(1)
  })

  test('a revoked key ends a running turn with not_allowed, and later turns', async () => {
    chats.provider.respondWith(eventStream(messageStream(say('one', second)), { 3: createGate() }))
    chats.startRunner()
    const id = await chats.newChat('hello')
    await chats.provider.call(0)
    const [key] = await chats.admin.apiKeys.list.query({ user: chats.user.id })
    expect(key?.name).toBe('chats')
    await chats.admin.apiKeys.expire.mutate({ id: key?.id ?? '' })
    const { row, messages } = await chats.until(id, 'error')
    expect(row.lastError).toMatchObject({ reason: 'not_allowed' })
    expect(textsOf(messages)).toEqual(['user: hello'])
    await chats.provider.calls[0]?.closed
    await chats.send(id, 'again')
    expect((await chats.until(id, 'error', ({ version }) => version > row.version)).row.lastError).toMatchObject({
      reason: 'not_allowed',
    })
    expect(chats.provider.calls).toHaveLength(1)
  })

  test('a suspended user ends running turns', async () => {
    chats.provider.respondWith(eventStream(messageStream(say('one', second)), { 3: createGate() }))
    chats.startRunner()
    const id = await chats.newChat('hello')
    await chats.provider.call(0)
    await chats.admin.users.setStatus.mutate({ user: chats.user.id, status: 'suspended' })
    expect((await chats.until(id, 'error')).row.lastError).toMatchObject({ reason: 'not_allowed' })
  })

  test('an interrupt keeps the parts so far, and the queue goes on', async () => {
    const stream = messageStream(say('one', second))
    const at = eventsOf(stream).findIndex(event => event.includes(second))
    chats.provider.respondWith(eventStream(stream, { [at]: createGate() }), eventStream(messageStream(say('two'))))
    const { episodes } = chats.startRunner()
    const id = await chats.newChat('first')
    const { row } = await chats.until(id, 'running', ({ attempt }) => attempt === 1)
    const parts = episodes.follow(
      { chatId: id, historyVersion: row.historyVersion, attempt: 1 },
      0,
      new AbortController().signal,
    )
    for await (const event of parts) if (event.kind === 'part') break
    await chats.send(id, 'next')
    await chats.interrupt(id)
    const { messages } = await chats.until(id, 'waiting')
    expect(textsOf(messages)).toEqual(['user: first', 'assistant: one', 'user: next', 'assistant: two'])
    expect(messages[1]).toMatchObject({ interrupted: true, usage: null, finishReason: null })
    await chats.provider.calls[0]?.closed
  })

  test('an interrupt ends the commands of the agent, and closes open calls', async () => {
    const agent = await openAgent()
    chats.provider.respondWith(
      eventStream(
        messageStream(execute('t1', 'echo begun > begun; sleep 60', { timeout: 100 }), execute('t2', 'echo two')),
      ),
    )
    chats.startRunner({ hosts: hostsOf({ host: agent.table, instanceId }) })
    const id = await chats.newChat('look', { withAgent: true, cwd: agent.folder })
    await expect.poll(() => agent.lines('begun')).toEqual(['begun'])
    await chats.interrupt(id)
    const { messages } = await chats.until(id, 'waiting')
    expect(messages[2]?.parts).toMatchObject([
      { toolCallId: 't1', cancelled: true, isError: true },
      { toolCallId: 't2' },
    ])
    const list = await agent.table.list({ scope: id })
    expect(list.processes.map(({ running }) => running)).toEqual([false, false])
  })

  test('an interrupt ends a turn whose tool ignores it', async () => {
    const agent = await openAgent()
    const never = () => new Promise<never>(() => {})
    const host: ProcessHost = { ...hostOf(agent.table), output: never, cancel: never }
    chats.provider.respondWith(eventStream(messageStream(execute('t1', 'true'))))
    chats.startRunner({ hosts: hostsOf({ host, instanceId }) })
    const id = await chats.newChat('look', { withAgent: true, cwd: agent.folder })
    await chats.until(id, 'running', ({ agentInstance }) => agentInstance !== null)
    const begun = performance.now()
    await chats.interrupt(id)
    await chats.until(id, 'waiting')
    expect(performance.now() - begun).toBeLessThan(5_000)
  })

  test('an interrupt ends a turn whose model ignores it', async () => {
    chats.startRunner({ wrapModels: () => ({ call: () => new Promise<never>(() => {}) }) })
    const id = await chats.newChat('hello')
    await chats.until(id, 'running', ({ attempt }) => attempt === 1)
    await chats.interrupt(id)
    expect(textsOf((await chats.until(id, 'waiting')).messages)).toEqual(['user: hello'])
  })

  test('an interrupt in the wait for the next attempt ends the turn', async () => {
    chats.provider.respondWith(json({}, 429, { 'retry-after': '50' }))
    chats.startRunner()
    const id = await chats.newChat('hello')
    await chats.until(id, 'running', ({ retry }) => retry !== null)
    await chats.interrupt(id)
    expect(textsOf((await chats.until(id, 'waiting')).messages)).toEqual(['user: hello'])
  })

  test('an interrupt that no server runs is finished without parts', async () => {
    const id = await chats.newChat('hello')
    await chats.interrupt(id)
    chats.startRunner()
    expect(textsOf((await chats.until(id, 'waiting')).messages)).toEqual(['user: hello'])
  })

  test('the server that received an interrupt finishes it, if the owner under its lease does not', async () => {
    const id = await chats.newChat('hello')
    const dead = randomUUID()
    await store.acquireChats({ runner: dead, limit: 16, leaseMs: 600_000 })
    const { runner } = chats.startRunner({ limits: { interruptTakeoverMs: 100 } })
    runner.interrupted(await chats.interrupt(id))
    const { row } = await chats.until(id, 'waiting')
    expect(row.fence).toBe(2)
  })

  test('an interrupt that is repeated again and again is finished no later', async () => {
    const id = await chats.newChat('hello')
    await store.acquireChats({ runner: randomUUID(), limit: 16, leaseMs: 600_000 })
    const { runner } = chats.startRunner({ limits: { interruptTakeoverMs: 100 } })
    const interrupted = await chats.interrupt(id)
    const repeats = setInterval(() => runner.interrupted(interrupted), 10)
    try {
      expect((await chats.until(id, 'waiting')).row.fence).toBe(2)
    } finally {
      clearInterval(repeats)
    }
  })

  test('a takeover that comes late takes neither the next turn nor a later interrupt from its owner', async () => {
    const [finished, begun, interrupted] = [createGate(), createGate(), createGate()]
    let interrupts = 0
    chats.startRunner({
      wrapModels: () => ({ call: () => new Promise<never>(() => {}) }),
      wrapChanges: changes => ({
        ...changes,
        finishInterrupt: async (...args) => {
          if (interrupts++ > 0) await finished.opened
          return changes.finishInterrupt(...args)
        },
      }),
    })
    const id = await chats.newChat('first')
    await chats.until(id, 'running', ({ attempt }) => attempt === 1)
    const taken: unknown[] = []
    const takeChat: Store['takeChat'] = async query => {
      for (const gate of [begun, interrupted]) {
        await gate.opened
        taken.push(await store.takeChat(query))
      }
      return null
    }
    const { runner: other } = chats.startRunner({ store: { ...store, takeChat }, limits: { interruptTakeoverMs: 1 } })
    await chats.send(id, 'next')
    const first = await chats.interrupt(id)
    other.interrupted(first)
    await chats.until(
      id,
      'running',
      ({ attempt, historyVersion }) => attempt === 1 && historyVersion > first.historyVersion,
    )
    begun.open()
    await expect.poll(() => taken).toEqual([null])
    await chats.interrupt(id)
    interrupted.open()
    await expect.poll(() => taken).toEqual([null, null])
    finished.open()
    expect((await chats.until(id, 'waiting')).row.fence).toBe(1)
  })

  test('an edit while the turn runs ends the run, whose commit is rejected', async () => {
    const gate = createGate()
    const stream = messageStream(say('old', second))
    const at = eventsOf(stream).findIndex(event => event.includes(second))
    chats.provider.respondWith(eventStream(stream, { [at]: gate }), eventStream(messageStream(say('new'))))
    chats.startRunner()
    const id = await chats.newChat('hello')
    await chats.provider.call(0)
    await store.changeChat(id, async chat => {
      await chat.deleteFrom(1)
      await beginTurn(chat, { id: randomUUID(), ...storedParts([{ type: 'text', text: 'edited' }]) })
    })
    gate.open()
    const { messages } = await chats.until(id, 'waiting')
    expect(textsOf(messages)).toEqual(['user: edited', 'assistant: new'])
  })

  test('shutdown waits for the step under way, and another server goes on at once', async () => {
    const gate = createGate()
    const agent = await openAgent()
    const stream = messageStream(say('one', second), execute('t1', 'echo ran >> runs'))
    const at = eventsOf(stream).findIndex(event => event.includes(second))
    chats.provider.respondWith(eventStream(stream, { [at]: gate }), eventStream(messageStream(say('two'))))
    const hosts = hostsOf({ host: agent.table, instanceId })
    const { runner } = chats.startRunner({ hosts })
    const id = await chats.newChat('first', { withAgent: true, cwd: agent.folder })
    await chats.provider.call(0)
    const closed = runner.close({ graceMs: 30_000 })
    gate.open()
    await closed
    expect((await chats.historyOf(id)).row).toMatchObject({ status: 'running', runner: null, leaseUntil: null })
    chats.startRunner({ hosts })
    const { messages } = await chats.until(id, 'waiting')
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'assistant'])
    expect(agent.lines('runs')).toEqual(['ran'])
    expect(chats.provider.calls).toHaveLength(2)
  })

  test('a step that outlasts the grace is cut off, and its lease ends', async () => {
    chats.provider.respondWith(eventStream(messageStream(say('one')), { 3: createGate() }))
    const { runner } = chats.startRunner()
    const id = await chats.newChat('first')
    await chats.provider.call(0)
    await runner.close({ graceMs: 10 })
    const { row, messages } = await chats.historyOf(id)
    expect(row).toMatchObject({ status: 'running', runner: null })
    expect(messages).toHaveLength(1)
    await chats.provider.calls[0]?.closed
  })
})

/** The functions of a table, which are methods of a class. */
function hostOf(table: ProcessHost): ProcessHost {
  return {
    info: call => table.info(call),
    start: (input, call) => table.start(input, call),
    output: (input, call) => table.output(input, call),
    list: (input, call) => table.list(input, call),
    signal: (input, call) => table.signal(input, call),
    cancel: (input, call) => table.cancel(input, call),
  }
}
