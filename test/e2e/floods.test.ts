/**
 * `serve` with a small heap under a flood of unauthenticated peers. CI runs a small flood; `npm run soak` runs the
 * whole one for a minute and prints the figures.
 */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { createDuplexClient } from '../../client/rpc/client.js'
import { connect } from '../../client/rpc/connection.js'
import { webSocketDial } from '../../client/rpc/websocket.js'
import type { AppRouter } from '../../server/routers/app.js'
import { transformer } from '../../shared/rpc/json/transformer.js'
import { runSeed } from '../fixtures/random.js'
import { cleanUp, dataDirectory, type ServeProcess, startServe, textOf } from './process.js'

const isSoak = process.env.SOAK !== undefined
const peers = isSoak ? 1_000 : 60
const durationMs = isSoak ? 60_000 : 2_000

vi.setConfig({ testTimeout: durationMs + 60_000 })
afterEach(cleanUp)

const adminToken = 'admin-token-of-the-servers'
const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms))

/** Connects with the admin token, makes one call and returns its result. */
function dial({ url }: ServeProcess) {
  const target = new URL('/rpc?version=1.0', url)
  target.protocol = 'ws:'
  const headers = { authorization: `Bearer ${adminToken}` }
  const connection = connect({ dial: webSocketDial({ url: target, headers }) })
  return { connection, client: createDuplexClient<AppRouter>({ connection, transformer }) }
}

async function residentMiB({ pid }: ServeProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
}

function percentile(sorted: readonly number[], share: number): number {
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
}

test('a flood of unauthenticated peers ends no server with a heap of 256 MiB, and an operator gets responses', async () => {
  const env = { BRIDGE_ADMIN_TOKEN: adminToken, NODE_OPTIONS: '--max-old-space-size=256' }
  const server = await startServe(await dataDirectory(), { env })
  const { connection, client } = dial(server)
  const ask = (api: typeof client): Promise<unknown> => api.admin.users.list.query()
  await ask(client)
  const script = resolve('test/e2e/flood-peers.mjs')
  const flood = spawn(process.execPath, [script, server.port, String(peers), String(runSeed)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const printed = textOf(flood.stdout)

  const calls: number[] = []
  const dials: number[] = []
  let largestMiB = 0
  const timed = async (into: number[], run: () => Promise<unknown>): Promise<void> => {
    const start = performance.now()
    await run()
    into.push(performance.now() - start)
  }
  const endAt = performance.now() + durationMs
  while (performance.now() < endAt) {
    await timed(calls, () => ask(client))
    await timed(dials, async () => {
      const second = dial(server)
      await ask(second.client)
      await second.connection.close()
    })
    largestMiB = Math.max(largestMiB, await residentMiB(server))
    await pause(20)
  }
  flood.stdin.end()
  const dialled: Record<string, number> = JSON.parse(await printed)
  expect(Math.min(...Object.values(dialled))).toBeGreaterThan(0)
  await ask(client)
  expect(connection.state).toBe('open')
  await connection.close()
  server.kill('SIGTERM')
  expect((await server.exited).code).toBe(0)

  if (!isSoak) return
  const [call, second] = [calls, dials].map(times => {
    const sorted = times.sort((a, b) => a - b)
    return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), max: percentile(sorted, 1), n: sorted.length }
  })
  console.log(JSON.stringify({ peers, durationMs, dialled, callMs: call, dialAndCallMs: second, largestMiB }))
  expect(call?.p99).toBeLessThan(200)
  expect(second?.p99).toBeLessThan(200)
})
