/** Commands of turns that are interrupted, edited, failed or lost. The agent's list of processes is the judge. */
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AgentHosts } from '../../../../../server/services/agent-hosts.js'
import type { RunChanges } from '../../../../../server/services/chats/run-changes.js'
import { storedParts } from '../../../../../server/services/chats/stored-parts.js'
import { beginTurn } from '../../../../../server/services/chats/turns.js'
import { retry } from '../../../../../server/services/chats/user-changes.js'
import { createSecretBox } from '../../../../../server/services/secrets.js'
import { createServices } from '../../../../../server/services/services.js'
import type { Store } from '../../../../../server/store/store.js'
import type { ProcessHost } from '../../../../../shared/contract/agents.js'
import { silentLogger } from '../../../../../shared/values/log.js'
import { type Agent, openAgent, until } from '../../../../client/agent/agent.js'
import { closeOpened } from '../../../../fixtures/leaves-nothing.js'
import { createGate, eventStream } from '../../../../fixtures/provider.js'
import { stores } from '../../../../fixtures/stores.js'
import { execute, messageStream, say } from '../anthropic-stream.js'
import { hostsOf, openChats } from './running-chats.js'

const never = () => new Promise<never>(() => {})
const hour = 3_600_000
/** A runner with them takes chats, and looks at none of them again. */
const dying = { leaseMs: 300, pollMs: hour, renewMs: hour, keyCheckMs: hour }
const long = execute('t1', 'echo begun > begun; sleep 60', { timeout: 100 })

describe.each(stores)('commands of chats, with $name', ({ open }) => {
  let store: Store
  let chats: Awaited<ReturnType<typeof openChats>>
  let agent: Agent
  const instanceId = randomUUID()

  beforeEach(async () => {
    store = await open()
    chats = await openChats(store)
    agent = await openAgent()
  })
  afterEach(async () => {
    await chats.close()
    await store.close()
    await closeOpened()
    expect(chats.provider.unexpected).toBe(0)
  })

  const hosts = () => hostsOf({ host: agent.table, instanceId })
  const servicesWith = (agentHosts: AgentHosts) =>
    createServices({
      store,
      secrets: createSecretBox([new Uint8Array(32)]),
      logger: silentLogger,
      ownUrl: () => undefined,
      isStoreWritable: async () => true,
      agentHosts,
    })
  const newChat = () => chats.newChat('hello', { withAgent: true, cwd: agent.folder })
  const areRunning = async (scope: string) =>
    (await agent.table.list({ scope })).processes.map(({ running }) => running)
  const respondWith = (...contents: Parameters<typeof messageStream>[0][]) =>
    chats.provider.respondWith(...contents.map(content => eventStream(messageStream(content))))

  /** Lets a server die in the wait for a command; resolves when the command runs. */
  async function dieInCommand(): Promise<string> {
    respondWith(long)
    chats.startRunner({ hosts: hosts(), store: { ...store, renewChats: never }, limits: dying })
    const id = await newChat()
    await until(() => agent.lines('begun').length > 0)
    return id
  }

  /** Lets a server die before the results of its commands are stored. */
  async function dieBehindCommand(): Promise<string> {
    const reached = createGate()
    let commits = 0
    const commitStep =
      (changes: RunChanges): RunChanges['commitStep'] =>
      async (...args) => {
        if (commits++ === 0) return changes.commitStep(...args) // that of the calls
        reached.open()
        return never()
      }
    chats.startRunner({
      hosts: hosts(),
      limits: dying,
      wrapChanges: changes => ({ ...changes, commitStep: commitStep(changes) }),
    })
    const id = await newChat()
    await reached.opened
    return id
  }

  test('an interrupt whose server is dead ends the commands that this server has started', async () => {
    const id = await dieInCommand()
    await chats.interrupt(id)
    chats.startRunner({ hosts: hosts() })
    const { messages } = await chats.until(id, 'waiting')
    expect(messages[2]?.parts).toMatchObject([{ toolCallId: 't1', cancelled: true }])
    expect(await areRunning(id)).toEqual([false])
  })

  test('an interrupt whose server is dead, and whose agent does not respond, ends within 5 s', async () => {
    const id = await dieInCommand()
    const host = { cancel: never } as object as ProcessHost // no other function is called
    const { runner } = chats.startRunner({ hosts: hostsOf({ host, instanceId }), limits: { pollMs: hour } })
    const begun = performance.now()
    runner.interrupted(await chats.interrupt(id))
    await chats.until(id, 'waiting')
    expect(performance.now() - begun).toBeLessThan(5_000)
  })

  test('an edit ends the commands of the deleted message, also when another server has the chat first', async () => {
    respondWith(long, say('Hello'))
    const taken = createGate()
    const renewChats: Store['renewChats'] = async query => {
      if (agent.lines('begun').length > 0) await taken.opened
      return store.renewChats(query)
    }
    chats.startRunner({ hosts: hosts(), store: { ...store, renewChats } })
    const id = await newChat()
    await until(() => agent.lines('begun').length > 0)
    await store.changeChat(id, async chat => {
      await chat.deleteFrom(1)
      await beginTurn(chat, { id: randomUUID(), ...storedParts([{ type: 'text', text: 'edited' }]) })
    })
    chats.startRunner({ hosts: hosts() })
    const { messages } = await chats.until(id, 'waiting')
    expect(messages).toHaveLength(2)
    taken.open()
    await until(async () => !(await areRunning(id))[0])
  })

  test('an edit ends the commands of the deleted message, also when their server is dead', async () => {
    const id = await dieInCommand()
    chats.provider.respondWith(eventStream(messageStream(say('Hello'))))
    chats.startRunner({ hosts: hosts() })
    const services = servicesWith(hosts())
    const { ownerId } = await services.chats.find(id, { role: 'admin', name: 'operator' })
    const { messages } = await services.chats.messages({ chatId: id }, { role: 'user', userId: ownerId })
    const edited = [{ type: 'text', text: 'edited' } as const]
    const messageId = messages[0]?.id ?? ''
    await services.chats.edit({ chatId: id, messageId, id: randomUUID(), parts: edited }, ownerId)
    await chats.until(id, 'waiting')
    await until(async () => !(await areRunning(id))[0])
  })

  test('an interrupt ends the commands of an agent that comes back behind the end of the turn', async () => {
    const id = await dieInCommand()
    const back = createGate()
    const away = hostsOf({ host: agent.table, instanceId })
    const later: AgentHosts = {
      async call(agentId, call, work) {
        await back.opened
        return away.call(agentId, call, work)
      },
    }
    const { runner } = chats.startRunner({ hosts: later, limits: { pollMs: hour, interruptTakeoverMs: 50 } })
    runner.interrupted(await chats.interrupt(id))
    await chats.until(id, 'waiting')
    expect(await areRunning(id)).toEqual([true])
    back.open()
    await until(async () => !(await areRunning(id))[0])
  })

  test('a server that sees late that it has lost a chat ends no command that went on in the background', async () => {
    respondWith(execute('t1', 'echo begun > begun; sleep 60', { run_in_background: true }), say('Hello'))
    const late = createGate()
    const start: ProcessHost['start'] = async input => {
      await agent.table.start(input)
      return never()
    }
    const renewChats: Store['renewChats'] = async query => {
      await late.opened
      return store.renewChats(query)
    }
    const { runner } = chats.startRunner({
      hosts: hostsOf({ host: { start } as object as ProcessHost, instanceId }), // no other function is called
      store: { ...store, renewChats },
      limits: dying,
    })
    const id = await newChat()
    await until(() => agent.lines('begun').length > 0)
    chats.startRunner({ hosts: hosts() })
    await chats.until(id, 'waiting')
    late.open()
    await expect.poll(() => runner.running).toBe(0)
    expect(await areRunning(id)).toEqual([true])
  })

  test('a call of a failed turn is not made again on an agent that was started anew', async () => {
    respondWith(execute('t1', 'echo ran >> runs'), say('Hello'))
    const id = await dieBehindCommand()
    chats.startRunner({
      hosts: hostsOf({ host: agent.table, instanceId: randomUUID() }),
      limits: { maxToolAttempts: 1 },
    })
    expect((await chats.until(id, 'error')).row.lastError).toMatchObject({ reason: 'too_many_attempts' })
    await store.changeChat(id, retry)
    const { messages } = await chats.until(id, 'waiting')
    expect(messages[2]?.parts).toMatchObject([{ isError: true, output: expect.stringContaining('unknown') }])
    expect(agent.lines('runs')).toEqual(['ran'])
  })

  test('a command that outlasts eight servers fails no turn', async () => {
    respondWith(execute('t1', 'echo ran >> runs; echo one'), say('Hello'))
    const id = await dieBehindCommand()
    await store.changeChat(id, chat => chat.update({ attempt: 8 }))
    chats.startRunner({ hosts: hosts() })
    const { messages } = await chats.until(id, 'waiting')
    expect(messages[2]?.parts).toMatchObject([{ isError: false, output: expect.stringMatching(/^one\n/) }])
    expect(agent.lines('runs')).toEqual(['ran'])
  })
})
