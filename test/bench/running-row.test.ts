import { expect, test } from 'vitest'
import type { OpenRow } from '../../bench/rows/row.js'
import type { Item, Service, TokenUsage } from '../../bench/rows/service.js'
import { RunningRow } from '../../bench/running-row.js'

const effort = { rounds: 1, warmUps: 0, measureMs: 0, turns: 1, connections: 0 }

/** A row without a link; `spoil` replaces some of its calls. */
async function run(spoil: (service: Service, good: Required<OpenRow>) => Partial<OpenRow>): Promise<string[]> {
  const open = async (service: Service): Promise<OpenRow> => {
    const good: Required<OpenRow> = {
      call: async record => service.recordTokenUsage(record),
      echo: async record => service.echo({ ...record }),
      async subscribe(count, onItem) {
        for await (const item of service.items(count)) onItem(item)
      },
      close: async () => {},
    }
    return { ...good, ...spoil(service, good) }
  }
  const row = await RunningRow.open({ name: 'a row', does: '', open }, effort, () => performance.now())
  for (const figure of ['seqP50Us', 'callsPerSecond64', 'callsPerSecond1024', 'itemsPerSecond'] as const) {
    await row.measure(figure)
  }
  await row.verify()
  return [...row.samples.keys()]
}

/** Calls `act` in place of the 40th call. */
function once<T>(usual: (value: T) => Promise<unknown>, act: (value: T) => unknown): (value: T) => Promise<unknown> {
  let calls = 0
  return async value => (++calls === 40 ? act(value) : usual(value))
}

test('a row that delivers everything has a sample of each figure', async () => {
  expect(await run(() => ({}))).toEqual(['seqP50Us', 'callsPerSecond64', 'callsPerSecond1024', 'itemsPerSecond'])
})

test.each<[string, string, (service: Service, good: Required<OpenRow>) => Partial<OpenRow>]>([
  ['loses a record', 'did not receive', (_, { call }) => ({ call: once(call, () => ({})) })],
  [
    'repeats a record',
    'did not receive',
    (_, { call }) => ({ call: once(call, async record => (await call(record)) && call(record)) }),
  ],
  [
    'loses nested metadata',
    'did not receive',
    (_, { call }) => ({ call: once(call, ({ metadata: _lost, ...record }) => call(record)) }),
  ],
  [
    'changes a date',
    'did not receive',
    (_, { call }) => ({ call: once(call, record => call({ ...record, createdAt: new Date(0) })) }),
  ],
  ['has no response', 'is not {}', (_, { call }) => ({ call: once(call, async record => void (await call(record))) })],
  [
    'has a response with a field',
    'is not {}',
    (_, { call }) => ({ call: once(call, async record => (await call(record)) && { id: 1 }) }),
  ],
  [
    'sends a date back as text',
    'came back changed',
    (_, { echo }) => ({ echo: async record => ({ ...((await echo(record)) as TokenUsage), createdAt: 'a date' }) }),
  ],
  ['loses an item', 'items came', items(all => all.slice(0, -1))],
  ['repeats an item', 'items came', items(all => all.flatMap(item => [item, item]))],
  ['changes the order of items', 'out of order', items(all => all.toReversed())],
])('a row that %s fails the run', async (_, message, spoil) => {
  await expect(run(spoil)).rejects.toThrow(new RegExp(`^a row: .*${message}`))
})

function items(spoil: (all: Item[]) => Item[]): (service: Service, good: Required<OpenRow>) => Partial<OpenRow> {
  return (_, { subscribe }) => ({
    async subscribe(count, onItem) {
      const all: Item[] = []
      await subscribe(count, item => all.push(item))
      for (const item of spoil(all)) onItem(item)
    },
  })
}
