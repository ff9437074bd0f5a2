/** kill -9 of each process of a conversation, at each of its steps: nothing of ours is left. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { createAcpClient } from '../../client/acp/acp-client.js'
import { ChildAgents } from '../../server/process/acp/child-agent.js'
import type { ChatEvent } from '../../shared/contract/chats.js'
import { silentLogger } from '../../shared/values/log.js'
import { startAcp } from '../fixtures/acp/acp-server.js'
import { gate, makeChatAgent, waiting } from '../fixtures/acp/chat-agent.js'
import { goTo, Inbox, sessionId, steps } from '../fixtures/acp/conversation-steps.mjs'
import { isAlive } from '../fixtures/acp/is-alive.js'
import { makeEmptyDir } from '../fixtures/data-dir.js'
import { closeOpened, opened } from '../fixtures/leaves-nothing.js'
import { bareEnvironment, cleanUp, startAcpConnect, startAcpServe } from './process.js'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })
afterEach(closeOpened)
afterEach(cleanUp)

const allSteps = Object.keys(steps)
const agentScript = resolve('test/fixtures/acp/stuck-agent.mjs')
/** In place of a minute, for both ends: longer than a busy machine takes between two requests. */
const abandonedMs = 2_000
const lostAfterMs = 2_000
/** A dozen processes begin and end at once. */
const patiently = { interval: 20, timeout: 40_000 }

interface Stop {
  readonly step: string
  readonly pid: number
  /** commands of the agent: in its process group, and in a session of its own */
  readonly inGroup: number
  readonly inSession: number
}

/** A file in which agents write where they have stopped. */
async function stopsFile() {
  const file = join(await makeEmptyDir('stops'), 'stops')
  await writeFile(file, '')
  const stops = () => {
    const lines = readFileSync(file, 'utf8').trim().split('\n').filter(Boolean)
    // The last line of each agent.
    return [...new Map(lines.map((line): [number, Stop] => [JSON.parse(line).pid, JSON.parse(line)])).values()]
  }
  onTestFinished(() => {
    const pids = stops().flatMap(({ pid, inGroup, inSession }) => [pid, inGroup, inSession])
    for (const pid of pids.filter(isAlive)) process.kill(pid, 'SIGKILL')
  })
  return {
    file,
    /** Waits until so many agents have stopped at each step. */
    async reached(count: number): Promise<Stop[]> {
      const expected = allSteps.flatMap(step => Array<string>(count).fill(step)).sort()
      const steps = () => stops().map(({ step }) => step)
      await expect.poll(() => steps().sort(), patiently).toEqual(expected)
      return stops()
    },
  }
}

/** A server of this process, with an agent as a child for each connection. */
async function serving() {
  const { file, reached } = await stopsFile()
  const children = new ChildAgents({
    command: process.execPath,
    args: [agentScript, file],
    env: process.env,
    logger: silentLogger,
    maxChildren: 32,
    times: { stdinGraceMs: 5_000, killAfterMs: 500 },
  })
  const { url, acp, group, server, ends } = await startAcp({ agent: () => children.start(), times: { abandonedMs } })
  const sockets = () => new Promise<number>(resolve => server.getConnections((_, count) => resolve(count)))
  return {
    url,
    webSocketUrl: url.replace('http', 'ws'),
    reached,
    ends,
    /** Waits until connections and children have ended; sockets of the server are those of its clients. */
    async ended(): Promise<void> {
      await expect.poll(() => [acp.connections, group.connections], patiently).toEqual([0, 0])
      await children.ended()
      await expect.poll(sockets, patiently).toBe(0)
    },
  }
}

/** Clients of this process, one for each step of each server. */
function clientsOf(urls: readonly string[], headers: Record<string, string> = {}) {
  return urls.flatMap(url =>
    allSteps.map(step => {
      const client = createAcpClient({ url, headers, times: { lostAfterMs } })
      opened.add({ groups: [], close: () => client.close() })
      const inbox = new Inbox()
      client.open({ onMessage: message => inbox.put(message), onDrain() {}, onClose() {} })
      void goTo(step, message => client.send({ ...message }), inbox.next)
      return client
    }),
  )
}

const processesOf = ({ pid, inGroup, inSession }: Stop) => [pid, inGroup, inSession]

async function killed(child: ChildProcess): Promise<void> {
  const exited = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await exited
}

test('killed clients leave no connection, no agent and no command, at whichever step', async () => {
  const { url, webSocketUrl, reached, ended, ends } = await serving()
  const script = resolve('test/fixtures/acp/clients-at-steps.mjs')
  const clients = spawn(process.execPath, [script, allSteps.join(), url, webSocketUrl], { env: bareEnvironment() })
  onTestFinished(() => void clients.kill('SIGKILL'))
  const stops = await reached(2)
  expect(stops.flatMap(processesOf).every(isAlive)).toBe(true)
  await killed(clients)
  await ended()
  expect(stops.flatMap(processesOf).filter(isAlive)).toEqual([])
  // The one that waits for the response to initialize is noticed by its request, the others by their streams.
  expect(ends.sort()).toEqual([...Array(5).fill('abandoned'), ...Array(7).fill('closed')])
})

test('a killed acp connect leaves no connection, no agent and no command, at whichever step', async () => {
  const { url, reached, ended } = await serving()
  const connects = allSteps.map(step => {
    const connect = startAcpConnect(url)
    const inbox = new Inbox()
    createInterface(connect.stdout).on('line', line => inbox.put(JSON.parse(line)))
    void goTo(step, message => connect.stdin.write(`${JSON.stringify(message)}\n`), inbox.next)
    return connect
  })
  const stops = await reached(1)
  for (const connect of connects) connect.kill('SIGKILL')
  await ended()
  expect(stops.flatMap(processesOf).filter(isAlive)).toEqual([])
})

test('killed agents leave no connection and nothing in their process groups, at whichever step', async () => {
  const { url, webSocketUrl, reached, ended, ends } = await serving()
  const clients = clientsOf([url, webSocketUrl])
  const stops = await reached(2)
  for (const { pid } of stops) process.kill(pid, 'SIGKILL')
  const reasons = await Promise.all(clients.map(async client => (await client.closed).reason))
  expect(reasons).not.toContain(undefined)
  await ended()
  expect(stops.flatMap(({ pid, inGroup }) => [pid, inGroup]).filter(isAlive)).toEqual([])
  expect(ends).toHaveLength(12)
})

test('a killed acp serve leaves no agent, and clients that know of it, at whichever step', async () => {
  const { file, reached } = await stopsFile()
  const key = 'a-key-of-the-operator'
  const server = await startAcpServe(['--', process.execPath, agentScript, file], { BRIDGE_ACP_KEY: key })
  const urls = [server.url, server.url.replace('http', 'ws')]
  const clients = clientsOf(urls, { authorization: `Bearer ${key}` })
  const stops = await reached(2)
  server.kill('SIGKILL')
  await server.exited
  const reasons = await Promise.all(clients.map(async client => (await client.closed).reason))
  expect(new Set(reasons)).toEqual(new Set(['stream_lost', 'connection_lost', 'response_lost']))
  await expect.poll(() => stops.map(({ pid }) => pid).filter(isAlive), patiently).toEqual([])
})

const part: ChatEvent = {
  kind: 'message_part',
  historyVersion: 1,
  attempt: 1,
  seq: 2,
  role: 'assistant',
  index: 0,
  part: { type: 'text', text: 'running' },
}

test('killed clients leave no watch of a chat, at whichever step', async () => {
  const released = gate()
  const agents: ReturnType<typeof makeChatAgent>[] = []
  const calls: string[] = []
  const { url, acp, group } = await startAcp({
    times: { abandonedMs },
    agent() {
      const begin = [waiting]
      const made = makeChatAgent(
        {
          onlyAgentOf: async () => sessionId,
          async create({ cwd }) {
            if (cwd === '/stuck') calls.push('create')
            if (cwd === '/stuck') await released.opened
            return {} as never // the agent reads nothing of it
          },
          // A session that is loaded stays without the end of its history.
          async find() {
            begin.pop()
            return {} as never // nor of this
          },
          async send() {
            calls.push('send')
            made.watches[0]?.give(part)
            return { state: 'stored', seq: 1 }
          },
          async interrupt() {
            calls.push('interrupt')
            await released.opened
            return {}
          },
        },
        begin,
      )
      agents.push(made)
      return made.duplex
    },
  })
  const watches = () => agents.reduce((sum, { live }) => sum + live.size, 0)
  const script = resolve('test/fixtures/acp/clients-at-steps.mjs')
  // Chats ask for no permission.
  const names = allSteps.filter(step => step !== 'session/request_permission')
  const clients = spawn(process.execPath, [script, names.join(), url, url.replace('http', 'ws')], {
    env: bareEnvironment(),
  })
  onTestFinished(() => void clients.kill('SIGKILL'))
  const each = ['create', 'interrupt', 'send', 'send']
  await expect.poll(() => [...calls].sort(), patiently).toEqual([...each, ...each].sort())
  await expect.poll(() => [acp.connections, watches()], patiently).toEqual([10, 6])
  await killed(clients)
  await expect.poll(() => [acp.connections, group.connections, watches()], patiently).toEqual([0, 0, 0])
  released.open()
  await new Promise(resolve => setImmediate(resolve))
  expect(watches()).toBe(0)
  // Turns go on: the two interrupts are the clients' own.
  expect(calls).toHaveLength(each.length * 2)
})
