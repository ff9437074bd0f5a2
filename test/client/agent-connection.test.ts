/** Waits of a caller for a process, over the duplexes that an agent brings. */
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { connectAgent } from '../../client/agent-connection.js'
import { processRouter } from '../../server/routers/process.js'
import { serveDuplex } from '../../server/rpc/connection.js'
import type { ProcessHost } from '../../shared/contract/agents.js'
import type { Duplex } from '../../shared/rpc/duplex.js'
import { memoryDuplexPair } from '../../shared/rpc/links/memory-duplex.js'

afterEach(() => void vi.useRealTimers())

const running = { running: true, output: '', durationMs: 0 }

/** Connects to an agent whose process runs on and on; `waits` are those that the agent was asked for. */
function openConnection(respond: (waitMs: number) => Promise<unknown>) {
  const waits: number[] = []
  const wait = (more: object) => (input: { waitMs: number }) => {
    waits.push(input.waitMs)
    return respond(input.waitMs).then(() => ({ ...running, ...more }))
  }
  const host = { output: wait({}), cancel: wait({ ran: true }) }
  const duplexes: Duplex[] = []
  const { host: agent, close } = connectAgent(() => {
    const [far, near] = memoryDuplexPair()
    serveDuplex({ duplex: far, router: processRouter(host as unknown as ProcessHost), createContext: () => ({}) }) // no other call is made
    duplexes.push(far)
    return near
  })
  onTestFinished(close)
  return { agent, waits, cut: () => duplexes.at(-1)?.terminate({ code: 1006, message: 'cut' }) }
}

const after = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

test.each(['output', 'cancel'] as const)('a wait whose connection is lost late ends in time: %s', async name => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const { agent, cut } = openConnection(after)
  const startedMs = performance.now()
  const waiting = agent[name]({ id: 'a', waitMs: 60_000 }, {}).then(state => [
    state.running,
    performance.now() - startedMs,
  ])
  await vi.advanceTimersByTimeAsync(40_000)
  cut()
  await vi.advanceTimersByTimeAsync(100_000)
  const [isRunning, tookMs] = await waiting
  expect(isRunning).toBe(true)
  expect(tookMs).toBeGreaterThanOrEqual(60_000)
  expect(tookMs).toBeLessThan(90_000)
})

test('an agent that responds before the wait is over is asked once', async () => {
  const { agent, waits } = openConnection(async () => {})
  expect(await agent.output({ id: 'a', waitMs: 60_000 }, {})).toEqual(running)
  expect(waits).toHaveLength(1)
})
