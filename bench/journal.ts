/**
 * The journal's part of a small blocking response: the time to its last byte through `serve` with each mode of the
 * outbox, one request after another. Client and stand-in provider run in processes of their own.
 */
import { fileURLToPath } from 'node:url'
import { startChild } from './gateway/child.js'
import { type Counts, requestBody } from './gateway/conversation.js'
import type { Load, LoadResult } from './gateway/load.js'
import { requireLinux, untilQuiet } from './gateway/process-usage.js'
import { type GatewayEffort, inFlight } from './gateway/run.js'
import { type Serve, startServe } from './gateway/serve.js'
import { median } from './median.js'

interface JournalOptions {
  effort: GatewayEffort
  json: boolean
  /** Rows whose names contain one of these, beside the first; all if it is empty. */
  only: readonly string[]
}

/** Figures of one row. */
interface JournalFigures {
  name: string
  /** ms to the last byte of a response: the median of the rounds' medians */
  lastByteMs: number
  /** the median of the differences to the first row within a round */
  addedMs: number
}

/** Keeps no journal; the others are compared with it. */
const firstRow = 'memory'

/** Settings of `serve` by row. */
const rows: Readonly<Record<string, readonly string[]>> = {
  [firstRow]: ['--outbox', 'none'],
  never: ['--outbox-fsync', 'never'],
  interval: ['--outbox-fsync', 'interval'],
  always: ['--outbox-fsync', 'always'],
}

/** The journal's own cost without fsync, at most. */
const target = { row: 'never', atMostMs: 0.3 }

/** A server of one row. */
interface RunningServe {
  name: string
  serve: Serve
  /** medians by round */
  lastBytesMs: number[]
  requests: number
}

/**
 * Measures each row in each round, so that a slow spell hits all of them, and prints the figures.
 * @throws Error if a response is not whole, or if a database lacks a request or has one twice
 */
export async function benchJournal({ effort, json, only }: JournalOptions): Promise<void> {
  requireLinux()
  const { child: provider, first: origin } = await startChild(new URL('gateway/provider.js', import.meta.url))
  const { child: client } = await startChild(new URL('gateway/load.js', import.meta.url))
  const build = fileURLToPath(new URL('..', import.meta.url))
  const running: RunningServe[] = []

  async function load(row: RunningServe, clients: number): Promise<LoadResult> {
    const { baseUrl, key, pid } = row.serve
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` }
    const url = `${baseUrl}/chat/completions`
    const order: Load = { url, headers, body: requestBody('blocking'), clients, forMs: effort.loadMs }
    const result = (await client.ask(order)) as LoadResult // the client's own message
    row.requests += result.counts.requests
    // The delivery of this row's records must not take time of the next row.
    await untilQuiet(pid)
    return result
  }

  try {
    for (const [name, settings] of Object.entries(rows)) {
      const isWanted = name === firstRow || only.length === 0 || only.some(part => name.includes(part))
      if (!isWanted) continue
      const serve = await startServe(build, `${origin}/${name}/v1`, settings)
      const row: RunningServe = { name, serve, lastBytesMs: [], requests: 0 }
      running.push(row)
      // One request after another would take minutes until V8 has compiled everything.
      for (let warmUp = 0; warmUp < effort.warmUps; warmUp++) await load(row, inFlight)
    }
    for (let round = 0; round < effort.rounds; round++) {
      for (const row of inTurn(running, round)) {
        row.lastBytesMs.push((await load(row, 1)).lastByteP50Ms)
      }
    }
    const served = (await provider.ask('counts')) as Record<string, Counts> // the provider's own message
    for (const { name, serve, requests } of running) verify(name, requests, await serve.recorded(), served[name])
    print(figuresOf(running), json)
  } finally {
    for (const { serve } of running) await serve.stop()
    await Promise.all([provider.stop(), client.stop()])
  }
}

/** Each round begins with another row: the one behind a pause would always be slower. */
function inTurn<T>(all: readonly T[], round: number): T[] {
  const first = round % all.length
  return [...all.slice(first), ...all.slice(0, first)]
}

function verify(name: string, requests: number, recorded: Counts, served: Counts | undefined): void {
  const [there, expected] = [recorded, served].map(sums => JSON.stringify(sums))
  if (there === expected && requests === served?.requests) return
  throw new Error(`${name}: the database has ${there}, the provider served ${expected}, and clients got ${requests}`)
}

function figuresOf(running: readonly RunningServe[]): JournalFigures[] {
  const without = running[0]?.lastBytesMs ?? []
  return running.map(({ name, lastBytesMs }) => ({
    name,
    lastByteMs: median(lastBytesMs),
    addedMs: median(lastBytesMs.map((ms, round) => ms - (without[round] ?? Number.NaN))),
  }))
}

function print(figures: readonly JournalFigures[], json: boolean): void {
  if (json) {
    for (const row of figures) {
      console.log(JSON.stringify(row, (_, value) => (typeof value === 'number' ? Number(value.toFixed(3)) : value)))
    }
    return
  }
  console.log(`\nSmall responses through serve, by the mode of its outbox (Node ${process.versions.node})`)
  printColumns('', 'last byte, ms', 'added, ms')
  for (const { name, lastByteMs, addedMs } of figures) printColumns(name, lastByteMs.toFixed(3), addedMs.toFixed(3))
  const added = figures.find(({ name }) => name === target.row)?.addedMs ?? Number.NaN
  const outcome = added <= target.atMostMs ? 'met' : 'missed'
  console.log(`\nTarget: ${target.row} adds at most ${target.atMostMs} ms: ${added.toFixed(3)} ms, ${outcome}`)
}

function printColumns(name: string, ...columns: string[]): void {
  console.log(name.padEnd(12) + columns.map(column => column.padStart(16)).join(''))
}
