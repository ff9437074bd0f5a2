/** `npm run bench -- … --json` in its shortest form, without the peers, which would have to be installed. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const positive = expect.toSatisfy((value: unknown) => typeof value === 'number' && value > 0, 'a positive number')
const calls = { seqP50Us: positive, callsPerSecond64: positive, callsPerSecond1024: positive }
const withoutItems = { ...calls, itemsPerSecond: null, heapBytesPerConnection: null }
const inMemory = { ...calls, itemsPerSecond: positive, heapBytesPerConnection: null }
// The heap of so few connections may shrink.
const overWebSocket = { ...calls, itemsPerSecond: positive, heapBytesPerConnection: expect.any(Number) }

test('the benchmark prints an object with all figures for each row of its own and of tRPC', async () => {
  expect(await rowsOf()).toEqual([
    { name: 'trpc createCaller', ...withoutItems },
    { name: 'trpc localLink', ...inMemory },
    { name: 'trpc chain, empty link', ...withoutItems },
    { name: 'trpc wsLink', ...overWebSocket },
    { name: 'ws echo', ...withoutItems },
    { name: 'aibridge memory', ...inMemory },
    { name: 'aibridge memory createTRPCClient', ...withoutItems },
    { name: 'aibridge websocket', ...overWebSocket },
    { name: 'aibridge websocket createTRPCClient', ...withoutItems },
  ])
})

// A first start of `serve` takes seconds, and each load waits until a process is quiet.
test('the benchmark of gateways prints an object with all figures for each row of its own', {
  timeout: 120_000,
}, async () => {
  const isLinux = process.platform === 'linux'
  const rows = isLinux ? await rowsOf('gateway') : []
  const rates = { requestsPerSecond: positive, firstByteAddedMs: expect.any(Number) }
  const unmeasured = { ...rates, cpuUs: null, mainThreadUs: null, busiestOtherThreadUs: null }
  const measured = { ...rates, cpuUs: positive, mainThreadUs: positive, busiestOtherThreadUs: expect.any(Number) }
  const memory = { idleMiB: positive, peakMiB: positive }
  const expected = [
    { name: 'provider', blocking: unmeasured, streams: unmeasured, idleMiB: null, peakMiB: null },
    { name: 'bare', blocking: measured, streams: measured, ...memory },
    { name: 'aibridge', blocking: measured, streams: measured, ...memory },
  ]
  expect(rows).toEqual(isLinux ? expected : [])
})

test('the benchmark of the journal prints an object with all figures for each row', { timeout: 120_000 }, async () => {
  const isLinux = process.platform === 'linux'
  const rows = isLinux ? await rowsOf('journal', '--only', 'never') : []
  const expected = [
    { name: 'memory', lastByteMs: positive, addedMs: 0 },
    { name: 'never', lastByteMs: positive, addedMs: expect.any(Number) },
  ]
  expect(rows).toEqual(isLinux ? expected : [])
})

test('the benchmark of ACP prints an object with all figures for each row', async () => {
  const figures = { updatesPerSecond: positive, ratio: positive, heapBytesPerConnection: expect.any(Number) }
  expect(await rowsOf('acp')).toEqual([
    { name: 'aibridge sse', ...figures },
    { name: 'aibridge websocket', ...figures },
    { name: 'official sdk sse', ...figures },
    { name: 'official sdk websocket', ...figures },
  ])
})

test('the benchmark of chats prints an object with all figures for each row', { timeout: 120_000 }, async () => {
  const isLinux = process.platform === 'linux'
  const rows = isLinux ? await rowsOf('chats') : []
  const times = { p50Ms: positive, p99Ms: positive, addedMs: expect.any(Number) }
  const names = ['bridge alone', 'same server', 'other server']
  const crowd = { name: '2 watchers', p50Ms: positive, otherP50Ms: positive, memoryMiB: Array(4).fill(positive) }
  expect(rows).toEqual(isLinux ? [...names.map(name => ({ name, ...times })), crowd] : [])
})

test('the benchmark of agents prints an object with all figures for each row', async () => {
  expect(await rowsOf('agents')).toEqual([
    { name: 'bare spawn', commandMs: positive, ratio: 1 },
    { name: 'host alone', commandMs: positive, ratio: positive },
    { name: 'link in memory', commandMs: positive, ratio: positive },
    { name: 'link over a WebSocket', commandMs: positive, ratio: positive },
  ])
})

async function rowsOf(...parts: string[]): Promise<unknown[]> {
  const args = ['--expose-gc', 'dist/bench/main.js', ...parts, '--json', '--smoke', '--no-peers']
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}
