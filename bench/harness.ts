/**
 * Times one asynchronous call: one after another, and with many in flight. Rows are measured in turns, so that a slow
 * spell hits all of them.
 */

export interface Row {
  name: string
  call: () => Promise<unknown>
  /** fewer for a slow row */
  sequentialCalls?: number
}

export interface Figures {
  name: string
  /** µs of one call, one after another, median */
  sequentialUs: number
  /** calls in flight when `perSecond` was measured */
  inFlight: number
  /** calls a second, median */
  perSecond: number
}

const rounds = 9
const sequentialCalls = 4_000
const concurrentCalls = 20_000

/** Medians over several rounds, each row once a round. */
export async function measure(rows: readonly Row[], { inFlight = 64 } = {}): Promise<Figures[]> {
  const samples = rows.map(() => ({ sequential: [] as number[], concurrent: [] as number[] }))
  for (let round = -2; round < rounds; round++) {
    for (const [index, row] of rows.entries()) {
      const sequential = await sequentialUs(row)
      const concurrent = await callsPerSecond(row, inFlight)
      if (round < 0) continue // warm-up
      samples[index]?.sequential.push(sequential)
      samples[index]?.concurrent.push(concurrent)
    }
  }
  return rows.map((row, index) => ({
    name: row.name,
    inFlight,
    sequentialUs: median(samples[index]?.sequential ?? []),
    perSecond: median(samples[index]?.concurrent ?? []),
  }))
}

async function sequentialUs({ call, sequentialCalls: calls = sequentialCalls }: Row): Promise<number> {
  const times = new Float64Array(calls)
  for (let index = 0; index < calls; index++) {
    const start = performance.now()
    await call()
    times[index] = performance.now() - start
  }
  times.sort()
  return (times[calls >> 1] ?? Number.NaN) * 1000
}

async function callsPerSecond({ call }: Row, inFlight: number): Promise<number> {
  let left = concurrentCalls
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call()
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: inFlight }, worker))
  return concurrentCalls / ((performance.now() - start) / 1000)
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

/** A table whose ratios are against the row called `base`. */
export function print(title: string, figures: readonly Figures[], base: string): void {
  const reference = figures.find(row => row.name === base)
  if (!reference) throw new Error(`no row is called ${base}`)
  console.log(`\n${title} (Node ${process.versions.node}; × against ${base})`)
  console.log(
    `${''.padEnd(44)}${'µs/call'.padStart(10)}${'×'.padStart(8)}${`${reference.inFlight} in flight/s`.padStart(18)}${'×'.padStart(8)}`,
  )
  for (const { name, sequentialUs: us, perSecond } of figures) {
    const columns = [
      us.toFixed(1).padStart(10),
      (us / reference.sequentialUs).toFixed(2).padStart(8),
      Math.round(perSecond).toLocaleString('en').padStart(18),
      (perSecond / reference.perSecond).toFixed(2).padStart(8),
    ]
    console.log(name.padEnd(44) + columns.join(''))
  }
}
