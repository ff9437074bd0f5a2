/** Agents over a network that is cut, and under output without end. `npm run soak -- agents` runs the full lengths. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { forgetPeak, memoryMiB, peakMemoryMiB } from '../../bench/gateway/process-usage.js'
import { processLimits } from '../../shared/contract/limits.js'
import { agentDeployment } from './agent-deployment.js'
import { cuttable } from './cuttable.js'
import { cleanUp } from './process.js'

const { SOAK } = process.env

vi.setConfig({ testTimeout: SOAK ? 600_000 : 60_000, hookTimeout: 60_000 })
afterEach(cleanUp)

/** The cut is a third of the command, and shorter than the patience of a call. */
const [commandSeconds, cutSeconds] = SOAK ? [60, 20] : [6, 2]

test('a command whose link is cut for a third of its time is read to its end, and runs once', async () => {
  const { server, agents, startAgent, folder } = await agentDeployment()
  const path = await cuttable(server.url)
  onTestFinished(path.close)
  const agent = await startAgent(path.url)
  const begun = performance.now()
  const result = agents('run', 'a', '--', `echo run >> runs; sleep ${commandSeconds}; echo done`)
  await vi.waitUntil(() => existsSync(join(folder, 'runs')), { timeout: 20_000 })
  path.cut()
  // The length of the cut is the subject.
  await pause(cutSeconds * 1_000)
  path.restore()
  expect(await result).toMatchObject({ code: 0, stdout: 'done\n' })
  if (SOAK) console.log(`a command of ${commandSeconds} s was read after ${Math.round(performance.now() - begun)} ms`)
  expect(readFileSync(join(folder, 'runs'), 'utf8')).toBe('run\n')
  agent.kill('SIGTERM')
  expect(await agent.exited).toMatchObject({ code: 0 })
})

const floodBytes = SOAK ? 1_000_000_000 : 64_000_000

test.runIf(process.platform === 'linux')('a flood of output takes little memory of agent and server', async () => {
  const { server, agents, startAgent } = await agentDeployment()
  const agent = await startAgent()
  // The first command loads what all need.
  expect(await agents('run', 'a', '--', 'true')).toMatchObject({ code: 0 })
  const watched = { agent: agent.pid, server: server.pid }
  const before = { agent: memoryMiB(agent.pid), server: memoryMiB(server.pid) }
  for (const pid of Object.values(watched)) forgetPeak(pid)
  const ran = await agents('run', 'a', '--json', '--', `yes "a line of a flood" | head -c ${floodBytes}`)
  const { id }: { id: string } = JSON.parse(ran.stdout)
  const { truncated, output } = JSON.parse((await agents('output', 'a', id, '--json')).stdout)
  const retainedBytes = processLimits.headBytes + processLimits.tailBytes
  expect(truncated).toEqual({
    originalBytes: floodBytes,
    retainedBytes,
    omittedBytes: floodBytes - retainedBytes,
    cutLines: 0,
  })
  expect(output.length).toBeLessThan(retainedBytes + 100)
  const grownMiB = {
    agent: peakMemoryMiB(agent.pid) - before.agent,
    server: peakMemoryMiB(server.pid) - before.server,
  }
  if (SOAK) console.log(`${floodBytes / 1e6} MB of output, MiB more at most: ${JSON.stringify(grownMiB)}`)
  expect(grownMiB.agent).toBeLessThan(64)
  expect(grownMiB.server).toBeLessThan(64)
  agent.kill('SIGTERM')
  await agent.exited
})
