/**
 * The time from a provider's event to a watcher of the chat, at the server that runs the chat and at another one,
 * beside the bridge's own pass-through. Then many watchers of one chat. Provider and servers run in processes of their
 * own.
 */
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import type { BridgeClient } from '../client/bridge-client.js'
import { type Replica, type Replicas, startReplicas } from './chats/replicas.js'
import { startChild } from './gateway/child.js'
import { memoryMiB, requireLinux } from './gateway/process-usage.js'
import { median } from './median.js'

/** How much is measured. */
export interface ChatsEffort {
  rounds: number
  /** rounds whose figures are dropped: V8 compiles */
  warmUps: number
  /** events of a response */
  deltas: number
  /** watchers of one chat in the last rounds */
  watchers: number
}

/** ms between two events: each is alone on its way; with many watchers as fast as a model writes. */
const everyMs = { alone: 5, crowd: 25 }

interface ChatsOptions {
  effort: ChatsEffort
  json: boolean
}

/** Rows, the first of which is the bridge's pass-through, and what each adds to it at most, in ms. */
export const chatTargets = { 'bridge alone': 0, 'same server': 1, 'other server': 3 } as const
type RowName = keyof typeof chatTargets
const rowNames: readonly RowName[] = ['bridge alone', 'same server', 'other server']

/** Figures of one row, from the provider's write of an event to its receiver. */
interface ChatFigures {
  name: string
  /** ms: the median of the rounds' medians */
  p50Ms: number
  /** ms: the median of the rounds' 99th percentiles */
  p99Ms: number
  /** ms: the median of the differences to the first row within a round */
  addedMs: number
}

/**
 * Measures all rows in each round, and prints the figures.
 * @throws Error if a receiver did not get each event once, in order
 */
export async function benchChats({ effort, json }: ChatsOptions): Promise<void> {
  requireLinux()
  const script = new URL('chats/provider.js', import.meta.url)
  const { child: provider, first: upstream } = await startChild(script, [`${effort.deltas}`])
  let servers: Replicas | undefined
  try {
    servers = await startReplicas(fileURLToPath(new URL('..', import.meta.url)), String(upstream))
    const rounds: Record<RowName, number[]>[] = []
    for (let round = 0; round < effort.warmUps + effort.rounds; round++) {
      const alone = await passThrough(servers, effort)
      const watched = await watchedTurn(servers, effort, { watchers: 1, everyMs: everyMs.alone })
      rounds.push({ 'bridge alone': alone, ...watched })
    }
    const crowd = await watchCrowd(servers, effort)
    print(figuresOf(rounds.slice(effort.warmUps)), crowd, json)
  } finally {
    await servers?.close()
    await provider.stop()
  }
}

/** Asks the bridge for a streamed response. Returns the time of each event, in ms. */
async function passThrough({ replicas: [{ url }], key }: Replicas, effort: ChatsEffort): Promise<number[]> {
  const response = await fetch(`${url}/bridge/stand-in/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': key },
    body: JSON.stringify({
      model: `${everyMs.alone}`,
      max_tokens: 9,
      stream: true,
      messages: [{ role: 'user', content: 'hi' }],
    }),
  })
  const events = new Stamps('bridge alone')
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) events.note(decoder.decode(chunk))
  return events.all(effort)
}

/** A server keeps few connections of one user. */
const watchersPerConnection = 5

/** Runs a turn that is watched at each server. Returns the times of all events, in ms. */
async function watchedTurn(
  servers: Replicas,
  effort: ChatsEffort,
  { watchers, everyMs }: { watchers: number; everyMs: number },
) {
  const chatId = randomUUID()
  const connections = Math.ceil(watchers / watchersPerConnection)
  const clients = servers.replicas.map(replica => Array.from({ length: connections }, () => replica.connect()))
  const [writer] = clients[0] ?? []
  await writer?.chats.create.mutate({ id: chatId, provider: 'stand-in', model: `${everyMs}` })
  const watches = clients.map((all, index) =>
    Array.from({ length: watchers }, (_, watcher) => {
      return watch(all[watcher % connections] as BridgeClient, chatId, `watcher of server ${index}`) // one of them
    }),
  )
  await Promise.all(watches.flat().map(({ watching }) => watching))
  const parts = [{ type: 'text', text: 'hi' } as const]
  await writer?.chats.send.mutate({ chatId, id: randomUUID(), parts })
  const runner = await runnerOf(servers.replicas)
  const times = await Promise.all(watches.map(all => Promise.all(all.map(({ ended }) => ended))))
  await Promise.all(clients.flat().map(client => client.close()))
  const of = (index: number): number[] => (times[index] ?? []).flatMap(stamps => stamps.all(effort))
  return { 'same server': of(runner), 'other server': of(1 - runner) }
}

/** Returns the place of the server that runs the only running chat. */
async function runnerOf(replicas: readonly Replica[]): Promise<number> {
  for (;;) {
    const running = await Promise.all(replicas.map(replica => replica.runningChats()))
    const place = running.indexOf(1)
    if (place >= 0) return place
  }
}

/** Watches a chat to the end of its turn. */
function watch({ chats }: BridgeClient, chatId: string, name: string) {
  let begin = (): void => {}
  const watching = new Promise<void>(resolve => {
    begin = resolve
  })
  const run = async (): Promise<Stamps> => {
    const events = new Stamps(name)
    let isRunning = false
    for await (const { data } of chats.watch.subscribe({ chatId })) {
      if (data.kind === 'watching') begin()
      if (data.kind === 'message_part' && data.part.type === 'text') events.note(data.part.text)
      // The message may overtake the last parts of its preview.
      if (data.kind === 'message')
        for (const part of data.message.parts) if (part.type === 'text') events.end(part.text)
      if (data.kind !== 'status') continue
      if (isRunning && data.status !== 'running') break
      isRunning = data.status === 'running'
    }
    return events
  }
  return { watching, ended: run() }
}

/** Events by the times that their provider wrote into them. */
class Stamps {
  readonly #name: string
  readonly #timesMs: number[] = []
  #last = 0n

  constructor(name: string) {
    this.#name = name
  }

  /** Notes the events in a piece of text, which has just arrived. */
  note(text: string): void {
    const now = process.hrtime.bigint()
    for (const written of stampsIn(text)) {
      if (written <= this.#last) throw new Error(`${this.#name}: an event came twice, or out of order`)
      this.#last = written
      this.#timesMs.push(Number(now - written) / 1e6)
    }
  }

  /** Notes the events at the end of the whole text that have not arrived before. */
  end(text: string): void {
    this.note(
      stampsIn(text)
        .filter(written => written > this.#last)
        .map(written => `${written} `)
        .join(''),
    )
  }

  /** @throws Error if events are missing */
  all({ deltas }: ChatsEffort): number[] {
    if (this.#timesMs.length === deltas) return this.#timesMs
    throw new Error(`${this.#name}: ${this.#timesMs.length} of ${deltas} events came`)
  }
}

function stampsIn(text: string): bigint[] {
  return Array.from(text.matchAll(/(\d{9,}) /g), ([, digits = '']) => BigInt(digits))
}

/** Many watchers of one chat, half of them at each server. */
interface CrowdFigures {
  watchers: number
  /** ms from the provider's write to a watcher */
  same: { p50Ms: number; p99Ms: number }
  other: { p50Ms: number; p99Ms: number }
  /** MiB of both servers behind each turn; the first one has opened the connections */
  memoryMiB: number[]
}

async function watchCrowd(servers: Replicas, effort: ChatsEffort): Promise<CrowdFigures> {
  const times: Awaited<ReturnType<typeof watchedTurn>>[] = []
  const memory: number[] = []
  for (let turn = 0; turn < 4; turn++) {
    times.push(await watchedTurn(servers, effort, { watchers: effort.watchers / 2, everyMs: everyMs.crowd }))
    memory.push(servers.replicas.reduce((sum, { pid }) => sum + memoryMiB(pid), 0))
  }
  const of = (row: 'same server' | 'other server') => {
    const all = times.slice(1).map(turn => turn[row])
    return { p50Ms: median(all.map(median)), p99Ms: median(all.map(percentile99)) }
  }
  return { watchers: effort.watchers, same: of('same server'), other: of('other server'), memoryMiB: memory }
}

function percentile99(times: readonly number[]): number {
  return times.toSorted((one, other) => one - other)[Math.floor(times.length * 0.99)] ?? Number.NaN
}

function figuresOf(rounds: readonly Record<RowName, number[]>[]): ChatFigures[] {
  return rowNames.map(name => ({
    name,
    p50Ms: median(rounds.map(round => median(round[name]))),
    p99Ms: median(rounds.map(round => percentile99(round[name]))),
    addedMs: median(rounds.map(round => median(round[name]) - median(round['bridge alone']))),
  }))
}

function print(figures: readonly ChatFigures[], crowd: CrowdFigures, json: boolean): void {
  if (json) {
    for (const { name, p50Ms, p99Ms, addedMs } of figures) {
      console.log(JSON.stringify({ name, p50Ms: round(p50Ms), p99Ms: round(p99Ms), addedMs: round(addedMs) }))
    }
    const { watchers, same, other, memoryMiB } = crowd
    const times = { p50Ms: round(same.p50Ms), otherP50Ms: round(other.p50Ms) }
    console.log(JSON.stringify({ name: `${watchers} watchers`, ...times, memoryMiB: memoryMiB.map(Math.round) }))
    return
  }
  console.log(`\nFrom a provider's event to a watcher of the chat, ms (Node ${process.versions.node})`)
  printColumns('', 'p50', 'p99', 'added at the median')
  for (const { name, p50Ms, p99Ms, addedMs } of figures) {
    printColumns(name, ...[p50Ms, p99Ms, addedMs].map(ms => ms.toFixed(2)))
  }
  const { watchers, same, other, memoryMiB } = crowd
  console.log(`\n${watchers} watchers of one chat, half of them at each server`)
  printColumns('same server', same.p50Ms.toFixed(2), same.p99Ms.toFixed(2), '')
  printColumns('other server', other.p50Ms.toFixed(2), other.p99Ms.toFixed(2), '')
  console.log(`MiB of both servers behind each turn: ${memoryMiB.map(Math.round).join(', ')}`)
  console.log('\nTargets')
  for (const { name, addedMs } of figures.slice(1)) {
    const atMost = chatTargets[name as RowName] // the figures of these rows
    console.log(`${name.padEnd(20)}${addedMs.toFixed(2)} ms (≤ ${atMost}) ${addedMs <= atMost ? 'met' : 'missed'}`)
  }
}

const round = (ms: number): number => Number(ms.toFixed(3))

function printColumns(name: string, ...columns: string[]): void {
  console.log(name.padEnd(20) + columns.map(column => column.padStart(22)).join(''))
}
