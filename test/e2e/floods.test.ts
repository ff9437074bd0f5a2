/**
 * `serve` with a small heap under a flood of unauthenticated peers. CI runs a small flood; `npm run soak` runs the
 * whole one for a minute and prints the figures.
 */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { setPriority } from 'node:os'
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

/** Peers that stay until they are closed, and peers that come and go as fast as they can. */
const floods = [
  { name: 'peers of all kinds', kinds: [], durationMs: isSoak ? 60_000 : 1_500 },
  { name: 'peers that dial and leave', kinds: ['dials'], durationMs: isSoak ? 20_000 : 500 },
]

vi.setConfig({ testTimeout: 120_000 })
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

/** Milliseconds for which a process was ready to run while others had the processors. */
async function waitedMs({ pid }: ServeProcess): Promise<number> {
  const [, waitedNs] = (await readFile(`/proc/${pid}/schedstat`, 'utf8')).split(' ')
  return Number(waitedNs) / 1e6
}

interface Times {
  p50: number
  p99: number
  worst: number
  count: number
}

function summary(times: readonly number[]): Times {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (share: number): number => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0)
  return { p50: at(0.5), p99: at(0.99), worst: at(1), count: sorted.length }
}

test.each(floods)(
  'a server with a heap of 256 MiB lives beside $name, and a new client gets responses',
  async ({ name, kinds, durationMs }) => {
    const env = { BRIDGE_ADMIN_TOKEN: adminToken, NODE_OPTIONS: '--max-old-space-size=256' }
    // Times are those of a server as operators start it.
    const server = await startServe(await dataDirectory(), { env, ...(isSoak && { flags: [] }) })
    const { connection, client } = dial(server)
    const ask = (api: typeof client): Promise<unknown> => api.admin.users.list.query()
    await ask(client)
    const script = resolve('test/e2e/flood-peers.mjs')
    const flood = spawn(process.execPath, [script, server.port, String(peers), String(runSeed), ...kinds], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    // The flood comes from other machines: its work must not be taken for the server's.
    if (flood.pid !== undefined) setPriority(flood.pid, 10)
    const printed = textOf(flood.stdout)

    const calls: number[] = []
    const dials: number[] = []
    let largestMiB = 0
    const timed = async (into: number[], run: () => Promise<unknown>): Promise<void> => {
      const start = performance.now()
      await run()
      into.push(performance.now() - start)
    }
    const waitedBefore = await waitedMs(server)
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
    const waitedShare = ((await waitedMs(server)) - waitedBefore) / durationMs
    flood.stdin.end()
    const dialled: Record<string, number> = JSON.parse(await printed)
    expect(Math.min(...Object.values(dialled))).toBeGreaterThan(0)
    await ask(client)
    expect(connection.state).toBe('open')
    await connection.close()
    server.kill('SIGTERM')
    expect((await server.exited).code).toBe(0)

    if (!isSoak) return
    const [call, dialAndCall] = [summary(calls), summary(dials)]
    console.log(JSON.stringify({ name, peers, durationMs, dialled, call, dialAndCall, largestMiB, waitedShare }))
    // On a machine that is busy otherwise, the times say nothing about the server.
    if (waitedShare > 0.2) console.log('the server had to wait for the processors: the times are not compared')
    else expect(Math.max(call.p99, dialAndCall.p99)).toBeLessThan(200)
  },
)
