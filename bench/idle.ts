/**
 * Heap of an idle connection after one call. The server of a WebSocket row runs in a process of its own
 * (idle-server.ts), so that each end is measured alone; a row in memory has both ends in one heap.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { heapInUse } from './heap.js'
import type { OpenRow, Row } from './rows/row.js'
import { records, Service, type TokenUsage } from './rows/service.js'

/** Bytes of heap for one connection. */
export interface IdleHeap {
  /** absent in memory */
  server?: number
  bothEnds: number
}

/** Opened before the measurement: compiled code, and values that all connections share. */
const warmConnections = 20

/** Resolves without the rows that have no connection. Needs `node --expose-gc`. */
export async function measureIdle(rows: readonly Row[], connections: number): Promise<Map<string, IdleHeap>> {
  const heaps = new Map<string, IdleHeap>()
  for (const row of rows) {
    const { ends } = row
    if (ends) heaps.set(row.name, await overNetwork(row.name, ends, connections))
    else if (row.isConnection) {
      const service = new Service()
      heaps.set(row.name, { bothEnds: await growthOf([heapInUse], () => row.open(service), connections).then(sum) })
    }
  }
  return heaps
}

async function overNetwork(name: string, ends: NonNullable<Row['ends']>, connections: number): Promise<IdleHeap> {
  const script = fileURLToPath(new URL('idle-server.js', import.meta.url))
  const server = fork(script, [name], { execArgv: ['--expose-gc'] })
  try {
    const url = String(await reply(server))
    const heapOfServer = (): Promise<number> => {
      server.send('heap')
      return reply(server).then(Number)
    }
    const grown = await growthOf([heapOfServer, heapInUse], async () => ends.connect(url), connections)
    return { server: grown[0] ?? Number.NaN, bothEnds: sum(grown) }
  } finally {
    server.kill()
  }
}

/** Resolves with the growth of each heap for one connection. */
async function growthOf(
  heaps: readonly (() => Promise<number>)[],
  open: () => Promise<OpenRow>,
  connections: number,
): Promise<number[]> {
  const held: OpenRow[] = []
  const hold = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index++) {
      const row = await open()
      await row.call(records[index % records.length] as TokenUsage) // the index is within the array
      held.push(row)
    }
  }
  await hold(warmConnections)
  const before = await Promise.all(heaps.map(heap => heap()))
  await hold(connections)
  const after = await Promise.all(heaps.map(heap => heap()))
  await Promise.all(held.map(row => row.close()))
  return after.map((bytes, index) => (bytes - (before[index] ?? 0)) / connections)
}

function reply(server: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`the server of idle connections ended with ${code}`))
    server.once('exit', onExit)
    server.once('message', message => {
      server.off('exit', onExit)
      resolve(message)
    })
  })
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
