/** Agents that lie, stall, flood and hang up: typed errors for callers, bounded memory, no second run. */
import { randomUUID } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connectAgent } from '../../../client/agent-connection.js'
import { agentDial } from '../../../client/agent-dial.js'
import { AgentCalls } from '../../../server/control-plane/agent-calls.js'
import { AgentLinks } from '../../../server/control-plane/agent-links.js'
import { processRouter } from '../../../server/routers/process.js'
import { ConnectionGroup } from '../../../server/rpc/connection-group.js'
import { serveDial } from '../../../server/rpc/serve-dial.js'
import { type ProcessHost, processReasons } from '../../../shared/contract/agents.js'
import { errorReasons } from '../../../shared/contract/error-reasons.js'
import { processLimits } from '../../../shared/contract/limits.js'
import type { Duplex, DuplexReceiver, Message } from '../../../shared/rpc/duplex.js'
import { type ErrorCode, RpcError } from '../../../shared/rpc/errors.js'
import { memoryDuplexPair } from '../../../shared/rpc/links/memory-duplex.js'
import { openAgent } from '../../client/agent/agent.js'
import { closeOpened } from '../../fixtures/leaves-nothing.js'
import { admin, oneStore, recordingLogger, rejectionOf, startServer } from '../services/running-server.js'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const store = oneStore()
const { maxOutputLength, maxListed, maxIdLength, maxErrorBytes } = processLimits

async function openServer() {
  const { server, connect } = await startServer(store())
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 })
  const client = connect(admin).admin
  return {
    url,
    agents: client.agents,
    async createAgent() {
      const name = `a-${randomUUID().slice(0, 8)}`
      await client.users.create.mutate({ username: name })
      return client.agents.create.mutate({ name, user: name })
    },
  }
}

type Server = Awaited<ReturnType<typeof openServer>>

const identity = (url: string, key: string) => ({ url, key, instance: randomUUID(), buildVersion: 'test' })

/** Serves a host that may break every rule, until the test ends. */
function serveHost(url: string, key: string, host: object) {
  const router = processRouter(host as ProcessHost) // its lies are the subject
  const service = serveDial({ dial: agentDial(identity(url, key)), router, random: () => 0 })
  onTestFinished(async () => void (await service.close({ graceMs: 0 })))
}

/** Runs a command on an honest agent of the same server. */
async function expectHealthy(server: Server): Promise<void> {
  const { name, key } = await server.createAgent()
  const { table } = await openAgent()
  onTestFinished(closeOpened)
  serveHost(server.url, key, table)
  const { agents } = server
  const { id, instanceId } = await agents.start.mutate({ agent: name, id: 'h', command: 'echo ok', background: false })
  const output = await agents.output.query({ agent: name, id, waitMs: 20_000, instanceId })
  expect(output).toMatchObject({ output: 'ok\n', exitCode: 0 })
}

describe('a response that breaks a rule', () => {
  const ended = { running: false, exitCode: 0, durationMs: 1 }
  const output = { ...ended, output: '' }
  const truncated = { originalBytes: 2, retainedBytes: 1, omittedBytes: 1, cutLines: 0 }
  const listed = { ...ended, id: 'p', command: 'true', dir: '/', background: false, startedAt: new Date(0) }
  const lists = (processes: unknown) => ({ processes, total: 1 })

  const lies: readonly [procedure: 'start' | 'output' | 'processes' | 'signal', fault: string, response: unknown][] = [
    ['start', 'nothing', undefined],
    ['start', 'a text', 'p'],
    ['start', 'another process', { id: 'q', attached: false }],
    ['start', 'an id that is too long', { id: 'x'.repeat(maxIdLength + 1), attached: false }],
    ['start', 'no word about attached', { id: 'p' }],
    ['output', 'null', null],
    ['output', 'an array', [output]],
    ['output', 'no text', ended],
    ['output', 'a text that is too long', { ...output, output: 'x'.repeat(maxOutputLength + 1) }],
    ['output', 'three MiB of text', { ...output, output: 'x'.repeat(3 * 1024 * 1024) }],
    ['output', 'an exit code that is a text', { ...output, exitCode: '0' }],
    ['output', 'a broken exit code', { ...output, exitCode: 0.5 }],
    ['output', 'a signal that is a number', { ...output, signal: 15 }],
    ['output', 'a time below 0', { ...output, durationMs: -1 }],
    ['output', 'a time without an end', { ...output, durationMs: Number.POSITIVE_INFINITY }],
    ['output', 'a count that is negative', { ...output, truncated: { ...truncated, omittedBytes: -1 } }],
    ['output', 'a count that is missing', { ...output, truncated: { originalBytes: 1 } }],
    ['processes', 'no list', { total: 0 }],
    ['processes', 'a list that is too long', lists(Array(maxListed + 1).fill(listed))],
    ['processes', 'a hundred thousand empty rows', lists(Array(100_000).fill({}))],
    ['processes', 'a command that is too long', lists([{ ...listed, command: 'x'.repeat(1025) }])],
    ['processes', 'a start that is a text', lists([{ ...listed, startedAt: '1970-01-01' }])],
    ['signal', 'nothing', undefined],
    ['signal', 'a number', 0],
  ]

  test('a lie of an agent is agent_invalid, and its connection and the server go on', async () => {
    const server = await openServer()
    const { name: agent, key } = await server.createAgent()
    let response: unknown
    const lie = async () => response
    serveHost(server.url, key, { start: lie, output: lie, list: lie, signal: lie })
    const calls = {
      start: () => server.agents.start.mutate({ agent, id: 'p', command: 'true', background: false }),
      output: () => server.agents.output.query({ agent, id: 'p', waitMs: 0 }),
      processes: () => server.agents.processes.query({ agent }),
      signal: () => server.agents.signal.mutate({ agent, id: 'p', signal: 'kill' }),
    }
    for (const [procedure, fault, lied] of lies) {
      response = lied
      const rejection = await rejectionOf(calls[procedure]())
      expect(rejection, `${procedure}: ${fault}`).toMatchObject({
        code: 'PRECONDITION_FAILED',
        reason: 'agent_invalid',
      })
      expect(rejection.message.length).toBeLessThan(2 * maxErrorBytes)
    }
    response = { ...output, output: 'x'.repeat(maxOutputLength), newer: 1 }
    expect(await calls.output()).toEqual({ ...output, output: 'x'.repeat(maxOutputLength) })
    await expectHealthy(server)
  })

  const errors: readonly (readonly [code: ErrorCode, reason: string | undefined, expected: object])[] = [
    ['UNAUTHORIZED', 'key_invalid', { reason: 'agent_invalid' }],
    ['FORBIDDEN', 'key_revoked', { reason: 'agent_invalid' }],
    ['FORBIDDEN', 'replaced', { reason: 'agent_invalid' }],
    ['PRECONDITION_FAILED', 'agent_restarted', { reason: 'agent_invalid' }],
    ['SERVICE_UNAVAILABLE', 'connection_lost', { reason: 'agent_invalid' }],
    ['SERVICE_UNAVAILABLE', 'agent_unreachable', { reason: 'agent_invalid' }],
    ['SERVICE_UNAVAILABLE', 'draining', { code: 'SERVICE_UNAVAILABLE', reason: 'agent_unreachable' }],
    ['TIMEOUT', undefined, { reason: 'agent_invalid' }],
    ['CLIENT_CLOSED_REQUEST', undefined, { reason: 'agent_invalid' }],
    ['UNAUTHORIZED', 'not_running', { reason: 'agent_invalid' }],
    ['NOT_FOUND', 'unknown_row', { code: 'NOT_FOUND', reason: undefined }],
    ['TOO_MANY_REQUESTS', 'too_many_calls', { code: 'TOO_MANY_REQUESTS', reason: undefined }],
    ['INTERNAL_SERVER_ERROR', undefined, { code: 'INTERNAL_SERVER_ERROR', reason: undefined }],
    ...processReasons.map(
      reason => [errorReasons[reason].code, reason, { code: errorReasons[reason].code, reason }] as const,
    ),
  ]

  test('an error of an agent speaks for its processes, and not for the server, the link or the key', async () => {
    const server = await openServer()
    const { name: agent, key } = await server.createAgent()
    let error = new RpcError<string>('NOT_FOUND', 'none')
    let calls = 0
    const list = async () => {
      calls++
      throw error
    }
    serveHost(server.url, key, { list })
    for (const [code, reason, expected] of errors) {
      error = new RpcError<string>(code, 'a lie', { reason, mayHaveRun: false })
      const rejection = await rejectionOf(server.agents.processes.query({ agent }))
      expect(rejection, `${code} ${reason}`).toMatchObject(expected)
    }
    expect(calls).toBe(errors.length)
  })

  test.each([4401, 4403])('a close with %i fails a call as a lost link, and not as a rejection', async code => {
    const [far, near] = memoryDuplexPair()
    far.open({ onMessage: () => far.close({ code, message: 'no' }), onDrain: () => {}, onClose: () => {} })
    const agent = connectAgent(() => near)
    onTestFinished(() => agent.close())
    const rejection = await rejectionOf(agent.host.list({}, {}))
    expect(rejection).toMatchObject({ code: 'SERVICE_UNAVAILABLE', reason: 'connection_lost' })
  })

  test('the message of an error of an agent is cut', async () => {
    const server = await openServer()
    const { name: agent, key } = await server.createAgent()
    const output = async () => {
      throw new RpcError('BAD_REQUEST', 'x'.repeat(1024 * 1024))
    }
    serveHost(server.url, key, { output })
    const { code, message } = await rejectionOf(server.agents.output.query({ agent, id: 'p', waitMs: 0 }))
    expect(code).toBe('BAD_REQUEST')
    expect(message.length).toBeLessThanOrEqual(maxErrorBytes)
  })
})

describe('an agent that hangs up', () => {
  test.each([0, 1, 2, 3, 4])(
    'a link that is cut at message %i of a command costs no response and no second run',
    async n => {
      const server = await openServer()
      const { name: agent, key } = await server.createAgent()
      const { table, lines } = await openAgent()
      onTestFinished(closeOpened)
      const dial = agentDial(identity(server.url, key))
      let dials = 0
      const service = serveDial({
        dial: async info => (dials++ === 0 ? cutAt(n, await dial(info)) : dial(info)),
        router: processRouter(table),
        random: () => 0,
      })
      onTestFinished(async () => void (await service.close({ graceMs: 0 })))
      const { agents } = server
      await agents.start.mutate({ agent, id: 'p', command: 'echo ran >> file; echo done', background: false })
      const output = await agents.output.query({ agent, id: 'p', waitMs: 20_000 })
      expect(output).toMatchObject({ output: 'done\n', exitCode: 0 })
      expect(lines('file')).toEqual(['ran'])
      // Start and output are a request and a response each.
      await agents.processes.query({ agent })
      expect(dials).toBe(2)
    },
  )

  /** Cuts a duplex at its message number `n`, counted from 1 in both directions; 0 cuts it at once. */
  function cutAt(n: number, duplex: Duplex): Duplex {
    let messages = 0
    const isCut = (): boolean => {
      if (++messages === n) duplex.terminate({ code: 1006, message: 'cut by the test' })
      return messages >= n
    }
    if (n === 0) duplex.terminate({ code: 1006, message: 'cut by the test' })
    return new Proxy(duplex, {
      get(target, property) {
        if (property === 'send') return (message: Message) => void (isCut() || target.send(message))
        if (property === 'open') {
          return (receiver: DuplexReceiver) =>
            target.open({
              onMessage: (message, bytes) => void (isCut() || receiver.onMessage(message, bytes)),
              onDrain: () => receiver.onDrain(),
              onClose: reason => receiver.onClose(reason),
            })
        }
        const value = Reflect.get(target, property)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
})

describe('an agent that never responds', () => {
  async function linked() {
    const shared = { store: store(), replica: randomUUID(), group: new ConnectionGroup(), logger: recordingLogger() }
    const links = new AgentLinks({ ...shared, connectAgent })
    const calls = new AgentCalls({ ...shared, links, peers: undefined })
    onTestFinished(async () => {
      calls.stop()
      await links.stop()
    })
    const { id, name } = await (await openServer()).createAgent()
    const instance = randomUUID()
    const bring = async (duplex: Duplex, signal: AbortSignal) =>
      links.accept(duplex, { agentId: id, name, instance, buildVersion: null, signal })
    const start = (timeoutMs: number) =>
      rejectionOf(
        calls.call(id, { timeoutMs }, (host, _instance, call) =>
          host.start({ id: 'p', command: 'true', background: false }, call),
        ),
      )
    return { bring, start }
  }

  test('an agent that reads and never responds costs its caller the deadline', async () => {
    const { bring, start } = await linked()
    const [far, near] = memoryDuplexPair()
    const received: Message[] = []
    far.open({ onMessage: message => void received.push(message), onDrain: () => {}, onClose: () => {} })
    await bring(near, new AbortController().signal)
    expect(await start(100)).toMatchObject({ code: 'TIMEOUT' })
    expect(received.length).toBeGreaterThan(0)
  })

  test('an agent that hangs up at each call and comes again fails the call after a few dials', async () => {
    const { bring, start } = await linked()
    let dials = 0
    let isCalled = true
    let coming = Promise.resolve()
    const come = async (): Promise<void> => {
      const left = new AbortController()
      const [far, near] = memoryDuplexPair()
      dials++
      far.open({
        onMessage: () => far.terminate({ code: 1006, message: 'hung up' }),
        onDrain: () => {},
        onClose: () => {
          left.abort()
          if (isCalled) coming = come()
        },
      })
      await bring(near, left.signal)
    }
    await come()
    expect(await start(10_000)).toMatchObject({ code: 'SERVICE_UNAVAILABLE', reason: 'connection_lost' })
    isCalled = false
    await coming
    expect(dials).toBeLessThan(10)
  })
})

describe('an agent that floods', () => {
  /** Returns the memory of this process, of both ends, that something holds. */
  function usedMemory(): number {
    collectGarbage()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }

  const data = 'x'.repeat(1_000)
  const floods: readonly [name: string, message: (n: number) => Message][] = [
    ['responses to calls that nobody made', n => ({ id: n, result: { type: 'data', data: { json: data } } })],
    ['errors of calls that nobody made', n => ({ id: n, error: { code: -32600, message: data } })],
    ['calls of its own', n => ({ id: n, method: 'query', params: { path: 'admin.users.list', input: data } })],
    ['requests to reconnect', () => ({ id: null, method: 'reconnect' })],
    ['messages of no shape', () => [data, [data], {}]],
  ]

  test.each(floods)('a flood of %s fills no memory, and the server serves others meanwhile', async (_name, message) => {
    const server = await openServer()
    const { key } = await server.createAgent()
    const dial = agentDial(identity(server.url, key))
    let sent = 0
    let isFlooding = true
    const flood = async (): Promise<void> => {
      while (isFlooding) {
        const duplex = await dial({ signal: AbortSignal.timeout(20_000) })
        let isOpen = true
        const drained = new Set<() => void>()
        const goOn = () => {
          for (const resolve of drained) resolve()
          drained.clear()
        }
        const close = () => {
          isOpen = false
          goOn()
        }
        duplex.open({ onMessage: () => {}, onDrain: goOn, onClose: close })
        while (isOpen && isFlooding) {
          for (let n = 0; n < 100 && isOpen; n++) duplex.send(message(sent++))
          if (duplex.full) await new Promise<void>(resolve => drained.add(resolve))
          else await new Promise(resolve => setImmediate(resolve))
        }
        duplex.terminate({ code: 1000, message: 'the flood is over' })
      }
    }
    const flooding = flood()
    await expectHealthy(server)
    const [sentBefore, before] = [sent, usedMemory()]
    while (sent < sentBefore + 20_000) await new Promise(resolve => setImmediate(resolve))
    const grown = usedMemory() - before
    await expectHealthy(server)
    isFlooding = false
    await flooding
    // 20,000 kept messages would be 20 MB; a socket may hold a MiB on its way, and other tests share the thread's heap.
    expect(grown).toBeLessThan(14_000_000)
  })
})
