/** Rounds, one after the other, until enough kills were made. */
import { lstatSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Outcome } from './exchanges.js'
import type { Offence } from './offences.js'
import { type RoundOptions, type RoundReport, runRound } from './round.js'
import { type Aim, type Manner, type Mode, type Phase, phases } from './strikes.js'

/** Options of {@link runCampaign}. */
export interface CampaignOptions {
  mode: Mode
  seed: number
  kills: number
  /** the path of the built command line */
  commandLine: string
  /** each round begins with an empty database */
  killsPerRound?: number
  workers?: number
  /** see {@link RoundOptions}; for a campaign of one round */
  aims?: readonly Aim[]
  /** the database in mode `quick` */
  databaseUrl?: string
  /** where logs, data and accounts of failing rounds are kept; default: nowhere */
  artifacts?: string
}

/** What a campaign has shown. */
export interface CampaignReport {
  mode: Mode
  seed: number
  rounds: number
  kills: number
  /** manner → number of strikes */
  strikes: Partial<Record<Manner, number>>
  /** phase → number of kills that hit it; one kill may hit several */
  hits: Record<Phase, number>
  requests: number
  /** outcome for the client → number of requests */
  outcomes: Partial<Record<Outcome, number>>
  providerCalls: number
  acknowledged: number
  /** acknowledged requests that the database has whole and once */
  found: number
  interceptions: number
  /** interceptions whose end says `unknown` */
  unknownEnds: number
  /** interceptions that the control plane has ended */
  provisionalEnds: number
  failedStarts: number
  seconds: number
  offences: (Offence & { round: number })[]
  /** folders of failing rounds */
  kept: string[]
}

/** failing rounds whose files are kept; more would say the same */
const mostKept = 3

/** Runs a campaign. Rejects never for a fault of the program: the report has it. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const { mode, seed, kills, killsPerRound = 20, workers = 8 } = options
  const startedAt = performance.now()
  const report: CampaignReport = {
    mode,
    seed,
    rounds: 0,
    kills: 0,
    strikes: {},
    hits: Object.fromEntries(phases.map(phase => [phase, 0])) as Record<Phase, number>, // all phases
    requests: 0,
    outcomes: {},
    providerCalls: 0,
    acknowledged: 0,
    found: 0,
    interceptions: 0,
    unknownEnds: 0,
    provisionalEnds: 0,
    failedStarts: 0,
    seconds: 0,
    offences: [],
    kept: [],
  }
  let planned = 0
  const running: Promise<void>[] = []
  while (planned < kills) {
    const some = Math.min(killsPerRound, kills - planned)
    planned += some
    // The next round begins while this one waits for its last ends.
    await new Promise<void>(resolve => {
      const round = report.rounds++
      const one = runOne(report, { ...options, round, kills: some, workers, onStruck: resolve })
      running.push(one)
      void one.then(resolve)
    })
  }
  await Promise.all(running)
  report.seconds = Math.round((performance.now() - startedAt) / 1000)
  return report
}

/** Runs a round and adds what it has shown. Never rejects. */
async function runOne(
  report: CampaignReport,
  options: Omit<RoundOptions, 'directory'> & { artifacts?: string },
): Promise<void> {
  const { mode, seed, round, artifacts } = options
  const directory = await mkdtemp(join(tmpdir(), 'crash-'))
  let isClean = false
  try {
    const shown = await runRound({ ...options, directory })
    add(report, round, shown)
    isClean = shown.offences.length === 0
    if (!isClean) await writeAccounts(directory, shown)
  } catch (error) {
    report.offences.push({ kind: 'stuck', tag: `round ${round}`, detail: String(error), round })
  }
  if (!isClean && artifacts !== undefined && report.kept.length < mostKept) {
    const kept = join(artifacts, `crash-${mode}-${seed}-${round}`)
    report.kept.push(kept)
    await mkdir(artifacts, { recursive: true })
    await rm(kept, { recursive: true, force: true })
    // Locks are sockets, which cannot be copied.
    await cp(directory, kept, { recursive: true, filter: source => !lstatSync(source).isSocket() })
  }
  await rm(directory, { recursive: true, force: true })
}

function add(report: CampaignReport, round: number, shown: RoundReport): void {
  for (const { strike, hits } of shown.strikes) {
    report.strikes[strike.manner] = (report.strikes[strike.manner] ?? 0) + 1
    if (strike.manner !== 'kill') continue
    report.kills++
    for (const phase of hits) report.hits[phase]++
  }
  const acknowledged = shown.exchanges.filter(({ acknowledgedAt }) => acknowledgedAt !== undefined)
  const offending = new Set(shown.offences.map(({ tag }) => tag))
  report.requests += shown.exchanges.length
  for (const { outcome = 'cut' } of shown.exchanges) report.outcomes[outcome] = (report.outcomes[outcome] ?? 0) + 1
  report.providerCalls += shown.exchanges.reduce((sum, { calledAt }) => sum + calledAt.length, 0)
  report.acknowledged += acknowledged.length
  report.found += acknowledged.filter(({ plan }) => !offending.has(plan.tag)).length
  report.interceptions += shown.stored.length
  report.unknownEnds += shown.stored.filter(({ interception }) => interception.errorType === 'unknown').length
  report.provisionalEnds += shown.stored.filter(({ interception }) => interception.endedBy !== null).length
  report.failedStarts += shown.failedStarts
  report.offences.push(...shown.offences.map(offence => ({ ...offence, round })))
}

async function writeAccounts(directory: string, { exchanges, strikes, stored, offences }: RoundReport): Promise<void> {
  const accounts = {
    offences,
    strikes: strikes.map(({ strike, hits }) => ({ ...strike, hits: [...hits] })),
    exchanges: exchanges.map(({ plan: { parts, received, ...plan }, ...exchange }) => ({
      ...exchange,
      plan: { ...plan, parts: parts.length, receivedBytes: received.length },
    })),
    stored,
  }
  await writeFile(join(directory, 'accounts.json'), JSON.stringify(accounts, undefined, 1))
}
