import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { expect, onTestFinished, test, vi } from 'vitest'
import { processLimits } from '../../../shared/contract/limits.js'
import { leavesNothing } from '../../fixtures/leaves-nothing.js'
import { openAgent } from './agent.js'

leavesNothing()

const noCall = {}
const { maxRunning, maxWaitMs } = processLimits

test('a 65th process is rejected', async () => {
  const { table, run } = await openAgent()
  const ids = await Promise.all(Array.from({ length: maxRunning }, () => run('exec sleep 60')))
  await expect(run('true')).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS', reason: 'too_many_processes' })
  const [id = ''] = ids
  await table.signal({ id, signal: 'kill' })
  await table.output({ id, waitMs: maxWaitMs }, noCall)
  await run('exec sleep 60')
})

test('an agent looks once for all background children that ended commands have left', async () => {
  const { table, run } = await openAgent()
  const leaveChild = async () =>
    table.output({ id: await run('sleep 60 > /dev/null 2>&1 &'), waitMs: maxWaitMs }, noCall)
  for (let n = 0; n < 20; n++) await leaveChild()
  const looks = countLooks()
  await leaveChild()
  await table.close()
  // A look for each child as it is left, and one for all children at each step of the close.
  expect(looks.mock.calls.length).toBeLessThan(20)
})

/** Counts reads of the system's table of processes. */
function countLooks() {
  const looks = vi.spyOn(fs, 'readdir')
  syncBuiltinESMExports()
  onTestFinished(() => {
    looks.mockRestore()
    syncBuiltinESMExports()
  })
  return looks
}

/** `npm run soak -- agents` writes 1 GB. */
const floodBytes = process.env.SOAK ? 1_000_000_000 : 64_000_000

test('a flood of output takes little memory and is counted to the byte', async () => {
  const { table, run } = await openAgent()
  const before = process.memoryUsage.rss()
  const id = await run(`yes "a line of a flood" | head -c ${floodBytes}`)
  let most = 0
  for (let isRunning = true; isRunning; ) {
    isRunning = (await table.output({ id, waitMs: 20 }, noCall)).running
    most = Math.max(most, process.memoryUsage.rss() - before)
  }
  const { output, truncated } = await table.output({ id, waitMs: 0 }, noCall)
  const retainedBytes = processLimits.headBytes + processLimits.tailBytes
  const omittedBytes = floodBytes - retainedBytes
  expect(truncated).toEqual({ originalBytes: floodBytes, retainedBytes, omittedBytes, cutLines: 0 })
  expect(output.length).toBeLessThan(retainedBytes + 100)
  // Other tests share the process, and buffers wait for a collection.
  if (process.env.SOAK) {
    console.log(`a flood of ${floodBytes / 1e6} MB took at most ${Math.round(most / 1e6)} MB`)
    expect(most).toBeLessThan(128_000_000)
  }
})
