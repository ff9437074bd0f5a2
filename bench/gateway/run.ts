/** Measures gateways in turns: each round measures each of them, so that a slow spell hits all. */
import { median } from '../median.js'
import { type Child, startChild } from './child.js'
import { type Counts, type LoadKind, loadKinds, requestBody } from './conversation.js'
import type { Gateway, StartGateway } from './gateway.js'
import type { Load, LoadResult } from './load.js'
import { between, cpuTimeOf, forgetPeak, memoryMiB, peakMemoryMiB, untilQuiet } from './process-usage.js'

/** How much is measured. */
export interface GatewayEffort {
  rounds: number
  /** rounds whose figures are dropped: V8 compiles */
  warmUps: number
  /** time of one load of one row in a round */
  loadMs: number
}

/** Medians of the rounds; NaN for a row whose process is not measured. */
export interface LoadFigures {
  requestsPerSecond: number
  /** CPU time of the process for one request: all threads, the main one, and the busiest of the others, in µs */
  cpuUs: number
  mainThreadUs: number
  busiestOtherThreadUs: number
  /** to the first byte of a body, one request after another, beyond that of the first row */
  firstByteAddedMs: number
}

/** Figures of one row. */
export interface GatewayFigures extends Record<LoadKind, LoadFigures> {
  name: string
  does: string
  idleMiB: number
  /** the largest memory under the loads */
  peakMiB: number
}

/** Requests in flight; each client has one. */
export const inFlight = 32

/**
 * Resolves with the figures of each row.
 * @param starts by name; the first is the provider itself
 * @throws Error if a response was not whole, or if a record was lost, doubled or changed
 */
export async function measureGateways(
  starts: Readonly<Record<string, StartGateway>>,
  { rounds, warmUps, loadMs }: GatewayEffort,
): Promise<GatewayFigures[]> {
  const { child: provider, first: origin } = await startChild(new URL('provider.js', import.meta.url))
  const { child: clients } = await startChild(new URL('load.js', import.meta.url))
  const running: RunningGateway[] = []
  try {
    for (const [name, start] of Object.entries(starts)) {
      running.push(await RunningGateway.open(await start(String(origin), name), clients))
    }
    for (let round = 0; round < warmUps + rounds; round++) {
      for (const kind of loadKinds) {
        for (const gateway of running) await gateway.measure(kind, loadMs)
        for (const gateway of running) await gateway.measureFirstByte(kind, loadMs / 4)
      }
    }
    const served = (await provider.ask('counts')) as Record<string, Counts> // the provider's own message
    for (const gateway of running) await gateway.verify(served[gateway.name])
    return running.map(gateway => gateway.figures(warmUps, running[0] ?? gateway))
  } finally {
    for (const gateway of running) await gateway.stop()
    await Promise.all([provider.stop(), clients.stop()])
  }
}

class RunningGateway {
  readonly name: string
  readonly stop: () => Promise<void>
  readonly #gateway: Gateway
  readonly #clients: Child
  readonly #idleMiB: number
  readonly #samples: Record<LoadKind, Sample[]> = { blocking: [], streams: [] }
  readonly #firstBytesMs: Record<LoadKind, number[]> = { blocking: [], streams: [] }
  readonly #received: Counts[] = []

  private constructor(gateway: Gateway, clients: Child, idleMiB: number) {
    this.name = gateway.name
    this.stop = gateway.stop
    this.#gateway = gateway
    this.#clients = clients
    this.#idleMiB = idleMiB
  }

  static async open(gateway: Gateway, clients: Child): Promise<RunningGateway> {
    const { pid } = gateway
    if (pid === undefined) return new RunningGateway(gateway, clients, Number.NaN)
    await untilQuiet(pid)
    const idleMiB = memoryMiB(pid)
    forgetPeak(pid)
    return new RunningGateway(gateway, clients, idleMiB)
  }

  /** Adds a sample of a load. The work that a process leaves for later counts. */
  async measure(kind: LoadKind, forMs: number): Promise<void> {
    const { pid } = this.#gateway
    const before = pid === undefined ? undefined : cpuTimeOf(pid)
    const { counts, seconds } = await this.#run(kind, inFlight, forMs)
    if (pid !== undefined) await untilQuiet(pid)
    const cpu = pid === undefined || !before ? undefined : between(before, cpuTimeOf(pid))
    const each = (time: number | undefined) => (time ?? Number.NaN) / counts.requests
    this.#samples[kind].push({
      requestsPerSecond: counts.requests / seconds,
      cpuUs: each(cpu?.all),
      mainThreadUs: each(cpu?.main),
      busiestOtherThreadUs: each(cpu?.busiestOther),
    })
  }

  /** Adds a sample of the first byte. */
  async measureFirstByte(kind: LoadKind, forMs: number): Promise<void> {
    const { firstByteP50Ms } = await this.#run(kind, 1, forMs)
    this.#firstBytesMs[kind].push(firstByteP50Ms)
  }

  /**
   * Compares the clients', the provider's and the database's sums.
   * @throws Error if they differ
   */
  async verify(served: Counts | undefined): Promise<void> {
    const received = this.#received.reduce((all, counts) => ({
      requests: all.requests + counts.requests,
      input: all.input + counts.input,
      output: all.output + counts.output,
      cached: all.cached + counts.cached,
    }))
    this.#compare('the clients received', received, served)
    if (this.#gateway.recorded) this.#compare('the database has', await this.#gateway.recorded(), served)
  }

  /** @param provider the row without a gateway */
  figures(warmUps: number, provider: RunningGateway): GatewayFigures {
    const { name, does, pid } = this.#gateway
    const of = (kind: LoadKind): LoadFigures => ({
      ...medians(this.#samples[kind].slice(warmUps)),
      firstByteAddedMs: this.#firstByteMs(kind, warmUps) - provider.#firstByteMs(kind, warmUps),
    })
    return {
      name,
      does,
      blocking: of('blocking'),
      streams: of('streams'),
      idleMiB: this.#idleMiB,
      peakMiB: pid === undefined ? Number.NaN : peakMemoryMiB(pid),
    }
  }

  #firstByteMs(kind: LoadKind, warmUps: number): number {
    return median(this.#firstBytesMs[kind].slice(warmUps))
  }

  async #run(kind: LoadKind, clients: number, forMs: number): Promise<LoadResult> {
    const { url, headers } = this.#gateway
    const load: Load = { url, headers, body: requestBody(kind), clients, forMs }
    const result = (await this.#clients.ask(load)) as LoadResult // the clients' own message
    this.#received.push(result.counts)
    return result
  }

  #compare(what: string, counts: Counts, served: Counts | undefined): void {
    const [there, expected] = [counts, served].map(sums => JSON.stringify(sums))
    if (there !== expected) throw new Error(`${this.name}: ${what} ${there}, and the provider served ${expected}`)
  }
}

type Sample = Omit<LoadFigures, 'firstByteAddedMs'>

function medians(samples: readonly Sample[]): Sample {
  const of = (figure: keyof Sample) => median(samples.map(sample => sample[figure]))
  return {
    requestsPerSecond: of('requestsPerSecond'),
    cpuUs: of('cpuUs'),
    mainThreadUs: of('mainThreadUs'),
    busiestOtherThreadUs: of('busiestOtherThreadUs'),
  }
}
