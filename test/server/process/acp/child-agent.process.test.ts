/** Agents as child processes, and their ends. */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ChildAgents, childEndTimes } from '../../../../server/process/acp/child-agent.js'
import { AcpPeer, promptOf } from '../../../fixtures/acp/acp-peer.js'
import { isAlive } from '../../../fixtures/acp/is-alive.js'
import { makeEmptyDir } from '../../../fixtures/data-dir.js'

const script = resolve('test/fixtures/acp/stdio-agent.mjs')

async function started(behaviour = '', times = childEndTimes, maxChildren = 32) {
  const pidFile = join(await makeEmptyDir('agent'), 'pids')
  const logged: { fields: object; message: string }[] = []
  const log = (fields: object, message: string) => void logged.push({ fields, message })
  const children = new ChildAgents({
    command: process.execPath,
    args: [script, pidFile, behaviour],
    env: process.env,
    logger: { debug: log, info: log, warn: log, error: log },
    times,
    maxChildren,
  })
  const duplex = await children.start()
  onTestFinished(async () => {
    duplex.close({ code: 1000, message: 'the test is over' })
    await children.ended()
  })
  const peer = new AcpPeer(duplex)
  await peer.request('initialize', { protocolVersion: 1 })
  const { sessionId } = await peer.request('session/new', { cwd: '/', mcpServers: [] })
  const pid = Number(readFileSync(pidFile, 'utf8'))
  const end = async () => {
    duplex.close({ code: 1000, message: 'bye' })
    await children.ended()
  }
  return { children, peer, sessionId, pid, end, logged }
}

test('an agent ends by the end of its stdin, and a command in a session of its own ends with it', async () => {
  const { peer, sessionId, pid, end, logged } = await started()
  await peer.request('session/prompt', promptOf(sessionId, 'spawn'))
  const commandPid = Number(peer.texts[0])
  expect([isAlive(pid), isAlive(commandPid)]).toEqual([true, true])
  await end()
  expect([isAlive(pid), isAlive(commandPid)]).toEqual([false, false])
  expect(logged.at(-1)).toMatchObject({ fields: { exitCode: 0, signal: null }, message: 'an agent has ended' })
})

test('an agent that goes on behind SIGTERM is killed, with its descendants', async () => {
  const { peer, sessionId, pid, end, logged } = await started('stubborn', { stdinGraceMs: 50, killAfterMs: 50 })
  await peer.request('session/prompt', promptOf(sessionId, 'spawn'))
  const commandPid = Number(peer.texts[0])
  await end()
  expect([isAlive(pid), isAlive(commandPid)]).toEqual([false, false])
  expect(logged.at(-1)).toMatchObject({ fields: { signal: 'SIGKILL' } })
})

test('a child keeps its place until it has ended', async () => {
  const { children, pid, end } = await started('stubborn', { stdinGraceMs: 50, killAfterMs: 50 }, 1)
  const full = expect.objectContaining({ reason: 'too_many_connections' })
  const ended = end()
  expect(() => children.checkFree()).toThrow(full)
  await expect(children.start()).rejects.toEqual(full)
  await ended
  expect(isAlive(pid)).toBe(false)
  children.checkFree()
})

test('an agent that exits by itself closes its duplex', async () => {
  const { peer, sessionId, logged } = await started()
  peer.ask('session/prompt', promptOf(sessionId, 'exit:3'))
  expect(await peer.closed()).toMatchObject({ code: 1000 })
  await expect.poll(() => logged.at(-1)).toMatchObject({ fields: { exitCode: 3 } })
})

test('a command that does not exist is agent_failed, and the log has the cause', async () => {
  const messages: string[] = []
  const log = (_: object, message: string) => void messages.push(message)
  const children = new ChildAgents({
    command: '/nonexistent',
    args: [],
    env: {},
    maxChildren: 1,
    logger: { debug: log, info: log, warn: log, error: log },
  })
  await expect(children.start()).rejects.toMatchObject({ reason: 'agent_failed', cause: { code: 'ENOENT' } })
  expect(messages).toEqual(['an agent could not be started'])
})
