/** Servers that die at any point of a turn, and the server that takes over. Provider and agent count. */
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ChatModels } from '../../../../../server/services/chats/model.js'
import type { RunChanges } from '../../../../../server/services/chats/run-changes.js'
import type { Store } from '../../../../../server/store/store.js'
import { openAgent } from '../../../../client/agent/agent.js'
import { closeOpened } from '../../../../fixtures/leaves-nothing.js'
import { createGate, eventStream, eventsOf } from '../../../../fixtures/provider.js'
import { stores } from '../../../../fixtures/stores.js'
import { execute, messageStream, say } from '../anthropic-stream.js'
import { hostsOf, openChats } from './running-chats.js'

const never = () => new Promise<never>(() => {})
const shortLease = { leaseMs: 300 }

describe.each(stores)('a chat whose server dies, with $name', ({ open }) => {
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
  })

  /**
   * Starts a runner that stops like a dead process at a point: it renews no lease, takes no chat, and its run never
   * gets further.
   */
  function startDying(options: Parameters<typeof chats.startRunner>[0]) {
    return chats.startRunner({
      ...options,
      limits: { ...shortLease, pollMs: 3_600_000, renewMs: 3_600_000, keyCheckMs: 3_600_000 },
    })
  }

  /** A change that is stored, and whose response the dead server never sees. */
  const diesBehind =
    (name: keyof RunChanges, reached: () => void) =>
    (changes: RunChanges): RunChanges => ({
      ...changes,
      [name]: async (...args: [never, never]) => {
        await changes[name](...args)
        reached()
        return never()
      },
    })
  const answer = () => eventStream(messageStream(say('Hello', ' there')))
  const expected = ['user: hello', 'assistant: Hello there']
  const shown = (messages: { role: string; parts: object[] }[]) =>
    messages.map(({ role, parts }) => `${role}: ${parts.map(part => Reflect.get(part, 'text')).join('|')}`)

  test('a death behind the attempt costs an attempt', async () => {
    const gate = createGate()
    startDying({ wrapChanges: diesBehind('beginAttempt', gate.open) })
    const id = await chats.newChat('hello')
    await gate.opened
    chats.provider.respondWith(answer())
    chats.startRunner()
    const { row, messages } = await chats.until(id, 'waiting')
    expect(shown(messages)).toEqual(expected)
    expect(row.fence).toBe(2)
    expect(chats.provider.calls).toHaveLength(1)
  })

  test('a death inside the stream repeats the call, and nothing of the first response is stored', async () => {
    const gate = createGate()
    const stream = messageStream(say('lost', ' words'))
    const at = eventsOf(stream).findIndex(event => event.includes(' words'))
    chats.provider.respondWith(eventStream(stream, { [at]: createGate() }), answer())
    const dead = (models: ChatModels): ChatModels => ({
      call: (request, call) =>
        models.call(request, {
          ...call,
          onPart(part) {
            gate.open()
            call.onPart(part)
          },
        }),
    })
    const { runner } = startDying({ wrapModels: dead })
    const id = await chats.newChat('hello')
    await gate.opened
    chats.startRunner()
    const { messages } = await chats.until(id, 'waiting')
    expect(shown(messages)).toEqual(expected)
    expect(chats.provider.calls).toHaveLength(2)
    await expect.poll(() => runner.running).toBe(0) // it is notified of the higher fence
    await chats.provider.calls[0]?.closed
  })

  test('a death behind the last part repeats the call, and the late commit is rejected', async () => {
    const [reached, late] = [createGate(), createGate()]
    let outcome: string | undefined
    chats.provider.respondWith(answer(), answer())
    startDying({
      wrapChanges: changes => ({
        ...changes,
        finishTurn: async (...args) => {
          reached.open()
          await late.opened
          const result = await changes.finishTurn(...args)
          outcome = result.state
          return result
        },
      }),
    })
    const id = await chats.newChat('hello')
    await reached.opened
    chats.startRunner()
    const { messages } = await chats.until(id, 'waiting')
    late.open()
    await expect.poll(() => outcome).toBe('lost')
    expect(shown((await chats.historyOf(id)).messages)).toEqual(expected)
    expect(messages).toHaveLength(2)
  })

  test('a death behind the commit of the last step repeats nothing', async () => {
    const gate = createGate()
    chats.provider.respondWith(answer())
    startDying({ wrapChanges: diesBehind('finishTurn', gate.open) })
    const id = await chats.newChat('hello')
    await gate.opened
    chats.startRunner()
    expect(shown((await chats.until(id, 'waiting')).messages)).toEqual(expected)
    expect(chats.provider.calls).toHaveLength(1)
  })

  test('a death behind the commit of the calls runs each command once', async () => {
    const agent = await openAgent()
    const hosts = hostsOf({ host: agent.table, instanceId: randomUUID() })
    const gate = createGate()
    chats.provider.respondWith(eventStream(messageStream(execute('t1', 'echo ran >> runs'))), answer())
    startDying({ hosts, wrapChanges: diesBehind('commitStep', gate.open) })
    const id = await chats.newChat('hello', { withAgent: true, cwd: agent.folder })
    await gate.opened
    chats.startRunner({ hosts })
    const { messages } = await chats.until(id, 'waiting')
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'assistant'])
    expect(agent.lines('runs')).toEqual(['ran'])
    expect(chats.provider.calls).toHaveLength(2)
  })

  test('a death between a command and the commit of its result attaches to the command', async () => {
    const agent = await openAgent()
    const hosts = hostsOf({ host: agent.table, instanceId: randomUUID() })
    const gate = createGate()
    chats.provider.respondWith(
      eventStream(
        messageStream(execute('t1', 'echo ran >> runs; echo one'), execute('t2', 'echo ran >> runs; echo two')),
      ),
      answer(),
    )
    // The first commit is that of the calls.
    let commits = 0
    startDying({
      hosts,
      wrapChanges: changes => ({
        ...changes,
        commitStep: async (...args) => {
          if (commits++ === 0) return changes.commitStep(...args)
          gate.open()
          return never()
        },
      }),
    })
    const id = await chats.newChat('hello', { withAgent: true, cwd: agent.folder })
    await gate.opened
    expect(agent.lines('runs')).toEqual(['ran', 'ran'])
    chats.startRunner({ hosts })
    const { messages } = await chats.until(id, 'waiting')
    expect(messages[2]?.parts).toMatchObject([
      { toolCallId: 't1', output: expect.stringMatching(/^one\n\[exit code 0/) },
      { toolCallId: 't2', output: expect.stringMatching(/^two\n\[exit code 0/) },
    ])
    expect(agent.lines('runs')).toEqual(['ran', 'ran'])
    expect(chats.provider.calls).toHaveLength(2)
  })

  test('a command of an agent that was started anew is unknown, and is not run again', async () => {
    const agent = await openAgent()
    const gate = createGate()
    chats.provider.respondWith(eventStream(messageStream(execute('t1', 'echo ran >> runs'))), answer())
    startDying({
      hosts: hostsOf({ host: agent.table, instanceId: randomUUID() }),
      wrapChanges: diesBehind('noteAgentInstance', gate.open),
    })
    const id = await chats.newChat('hello', { withAgent: true, cwd: agent.folder })
    await gate.opened
    chats.startRunner({ hosts: hostsOf({ host: agent.table, instanceId: randomUUID() }) })
    const { messages } = await chats.until(id, 'waiting')
    expect(messages[2]?.parts).toMatchObject([{ isError: true, output: expect.stringContaining('unknown') }])
    expect(agent.lines('runs')).toEqual([])
  })

  test('an interrupt whose owner is dead is finished by the next one, with results for open calls', async () => {
    const gate = createGate()
    chats.provider.respondWith(eventStream(messageStream(say('I run.'), execute('t1', 'true'))))
    startDying({ wrapChanges: diesBehind('commitStep', gate.open) })
    const id = await chats.newChat('hello', { withAgent: true })
    await gate.opened
    await chats.interrupt(id)
    chats.startRunner()
    const { messages } = await chats.until(id, 'waiting')
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool'])
    expect(messages[2]?.parts).toMatchObject([{ toolCallId: 't1', cancelled: true }])
  })

  test('a chat that dies again and again fails at the eighth attempt', async () => {
    const id = await chats.newChat('hello')
    for (let times = 0; times < 8; times++) {
      await expect.poll(() => store.acquireChats({ runner: randomUUID(), limit: 1, leaseMs: 1 })).toHaveLength(1)
      await store.changeChat(id, chat => chat.update({ attempt: chat.row.attempt + 1 }))
    }
    chats.startRunner()
    expect((await chats.until(id, 'error')).row.lastError).toMatchObject({ reason: 'too_many_attempts' })
    expect(chats.provider.calls).toHaveLength(0)
  })

  test('a renewal that was sent before an acquisition does not end the run that came after', async () => {
    const gate = createGate()
    const stream = messageStream(say('Hello', ' there'))
    const at = eventsOf(stream).findIndex(event => event.includes(' there'))
    chats.provider.respondWith(eventStream(stream, { [at]: createGate() }), eventStream(stream, { [at]: gate }))
    const [sent, late] = [createGate(), createGate()]
    let isHeld = false
    const slow: Store = {
      ...store,
      renewChats: async query => {
        const rows = await store.renewChats(query)
        if (!isHeld || rows.length === 0) return rows
        isHeld = false
        sent.open()
        await late.opened
        return rows
      },
    }
    chats.startRunner({ store: slow })
    const id = await chats.newChat('hello')
    await chats.provider.call(0)
    isHeld = true
    await sent.opened
    // The chat is taken from the runner and given back, while the response of its renewal is on the way.
    const runner = randomUUID()
    const taken = await store.takeChat({ id, runner, leaseMs: 60_000 })
    await store.releaseChats({ runner, chats: [{ id, fence: taken?.fence ?? 0 }] })
    await chats.provider.call(1)
    late.open()
    gate.open()
    const { row, messages } = await chats.until(id, 'waiting')
    expect(shown(messages)).toEqual(expected)
    expect(row.fence).toBe(3)
  })
})
