/** The connections of agents to one process: several at once, and a store that fails or is slow. */
import { randomUUID } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connectAgent } from '../../../client/agent-connection.js'
import { AgentLinks } from '../../../server/control-plane/agent-links.js'
import { processRouter } from '../../../server/routers/process.js'
import { serveDuplex } from '../../../server/rpc/connection.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import type { Store } from '../../../server/store/store.js'
import type { ProcessHost } from '../../../shared/contract/agents.js'
import type { CloseReason } from '../../../shared/rpc/duplex.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { deferred, oneStore, recordingLogger } from '../services/running-server.js'

const store = oneStore()

/** The store, with other methods in the place of some. */
function storeWith(methods: Partial<Store>): Store {
  return { ...store(), ...methods }
}

/** An agent of the store, and the links of a process to the agent. */
async function linked(methods: Partial<Store> = {}) {
  const [id, userId] = [randomUUID(), randomUUID()]
  const name = `agent-${id.slice(0, 8)}`
  await store().createUser({ id: userId, username: `owner-${userId}` })
  const keyId = id.slice(0, 10)
  await store().createAgent({ id, keyId, name, userId, expiresAt: null, secretHash: new Uint8Array(32) })
  const group = new ConnectionGroup()
  const logger = recordingLogger()
  const links = new AgentLinks({ store: storeWith(methods), replica: randomUUID(), group, connectAgent, logger })
  onTestFinished(() => links.stop())

  /** Brings a connection of the agent. Without `serve` its far end only reads. */
  function bring(instance: string, serve?: Partial<ProcessHost>) {
    const lifetime = new AbortController()
    const closed = deferred<CloseReason>()
    const [far, near] = memoryDuplexPair()
    const onClose = (reason: CloseReason) => {
      closed.resolve(reason)
      lifetime.abort()
    }
    if (serve) {
      const router = processRouter(serve as ProcessHost) // the other procedures are not called
      void serveDuplex({ duplex: far, router, createContext: () => ({}) }).closed.then(onClose)
    } else far.open({ onMessage: () => {}, onDrain: () => {}, onClose })
    const accepted = links.accept(near, { agentId: id, name, instance, buildVersion: null, signal: lifetime.signal })
    return { far, accepted, closed: closed.promise }
  }

  const replacements = async () =>
    (await store().listAudit({ limit: 50, action: 'agents.replaced', target: id })).map(({ details }) => details)
  return { id, links, bring, replacements }
}

/** A store whose audited writes are done, and come back when the test says so. */
function slowStore() {
  const gates: ReturnType<typeof deferred<void>>[] = []
  const audited: Store['audited'] = async (work, entryOf) => {
    const result = await store().audited(work, entryOf)
    await gates.shift()?.promise
    return result
  }
  return {
    audited,
    /** Holds the next two writes back; returns the functions that let them go. */
    hold() {
      const held = [deferred<void>(), deferred<void>()] as const
      gates.push(...held)
      return held
    },
  }
}

describe('processes with one key that connect at once', () => {
  test.each([
    ['in order', [0, 1]],
    ['in the other order', [1, 0]],
  ] as const)('the last process stays and all others end, with notes that come back %s', async (_how, order) => {
    const { audited, hold } = slowStore()
    const { id, links, bring } = await linked({ audited })
    const [one, two, three] = [randomUUID(), randomUUID(), randomUUID()]
    const first = bring(one)
    await first.accepted
    const held = hold()
    const others = [bring(two), bring(three)] as const
    for (const n of order) {
      held[n].resolve()
      await others[n].accepted
    }
    expect(await first.closed).toMatchObject({ code: 4002 })
    expect(await others[0].closed).toMatchObject({ code: 4002 })
    expect(links.connected(id)?.instance).toBe(three)
    await store().revokeAgent(id, new Date())
    expect(await others[1].closed).toMatchObject({ code: 4001 })
  })

  test('a process that dials again while its first connection is being stored keeps the second one', async () => {
    const { audited, hold } = slowStore()
    const { id, links, bring } = await linked({ audited })
    await bring(randomUUID()).accepted
    const instance = randomUUID()
    const held = hold()
    const older = bring(instance)
    older.far.terminate({ code: 1006, message: 'cut' })
    const newer = bring(instance, { list: async () => ({ processes: [], total: 7 }) })
    for (const gate of held.toReversed()) gate.resolve()
    await Promise.all([older.accepted, newer.accepted])
    const host = links.connected(id)?.host
    expect(await host?.list({}, { signal: AbortSignal.timeout(10_000) })).toMatchObject({ total: 7 })
  })
})

describe('a store that fails', () => {
  test('a replacement whose note fails leaves the row as it was, and has its audit entry when the process comes again', async () => {
    const faults = ['the store is away']
    const audited: Store['audited'] = (work, entryOf) =>
      store().audited(work, result => {
        const entry = entryOf(result)
        const fault = entry && faults.pop()
        if (fault) throw new Error(fault)
        return entry
      })
    const { id, bring, replacements } = await linked({ audited })
    const [one, two] = [randomUUID(), randomUUID()]
    await bring(one).accepted
    await expect(bring(two).accepted).rejects.toThrow()
    expect(await store().findAgent(id)).toMatchObject({ instance: one })
    expect(await replacements()).toEqual([])
    await bring(two).accepted
    expect(await replacements()).toEqual([{ instance: two, replaced: one }])
  })

  test('a connection that ends while it is being stored is not shown as connected', async () => {
    const left = deferred<void>()
    const { audited, hold } = slowStore()
    const { id, links, bring } = await linked({
      audited,
      recordAgentLeft: async (link, at) => {
        await store().recordAgentLeft(link, at)
        left.resolve()
      },
    })
    const [held] = hold()
    const { far, accepted, closed } = bring(randomUUID())
    far.terminate({ code: 1006, message: 'cut' })
    await closed
    held.resolve()
    await accepted
    await left.promise
    expect(await store().findAgent(id)).toMatchObject({ replica: null })
    expect(links.connected(id)).toBeUndefined()
  })
})

test('the keys are checked once at a time, however often the agents change', async () => {
  const asked: ReturnType<typeof deferred<void>>[] = [deferred(), deferred()]
  const release = deferred<void>()
  let change = () => {}
  let checks = 0
  const { bring } = await linked({
    onChange: (_topic, listener) => {
      change = listener
      return () => {}
    },
    readAgentLinks: async (ids, at) => {
      asked[checks++]?.resolve()
      await release.promise
      return store().readAgentLinks(ids, at)
    },
  })
  await bring(randomUUID()).accepted
  for (let n = 0; n < 10; n++) change()
  await asked[0]?.promise
  expect(checks).toBe(1)
  release.resolve()
  await asked[1]?.promise
  expect(checks).toBe(2)
})

test.each([4401, 4403])('an agent that closes with %i and comes again is called on its new connection', async code => {
  const { id, links, bring } = await linked()
  const instance = randomUUID()
  const first = bring(instance)
  await first.accepted
  first.far.close({ code, message: 'no' })
  await first.closed
  await bring(instance, { list: async () => ({ processes: [], total: 7 }) }).accepted
  const host = links.connected(id)?.host
  expect(await host?.list({}, { signal: AbortSignal.timeout(10_000) })).toMatchObject({ total: 7 })
})
