/** One life of a deployment: a first start, load, strikes, a clean end, and the comparison of the accounts. */
import { setTimeout as pause } from 'node:timers/promises'
import { presence } from '../../../shared/contract/limits.js'
import { Choice } from '../transport/choice.js'
import { Commits } from './commits.js'
import { Deployment, startTimeoutMs } from './deployment.js'
import { type Exchange, Exchanges } from './exchanges.js'
import { hitsOf } from './hits.js'
import { startLoad } from './load.js'
import { type Offence, offencesOf } from './offences.js'
import type { Program } from './program.js'
import { startStandIn } from './stand-in.js'
import { countOpen, readStored, type Stored } from './stored.js'
import { Striker } from './striker.js'
import type { Aim, Mode, Phase, Strike } from './strikes.js'

/** Options of {@link runRound}. */
export interface RoundOptions {
  mode: Mode
  seed: number
  /** number of the round */
  round: number
  /** the round ends when so many kills were made */
  kills: number
  /** strikes that are carried out once each, in place of those of the mode and whatever the number of kills */
  aims?: readonly Aim[]
  /** the path of the built command line */
  commandLine: string
  /** an empty folder; logs and data stay there */
  directory: string
  workers: number
  /** the database in mode `quick` */
  databaseUrl?: string | undefined
  /** called when the strikes are over, and the control plane may take minutes to end what nobody else can */
  onStruck?: () => void
}

/** What a round has shown. */
export interface RoundReport {
  strikes: readonly { strike: Strike; hits: ReadonlySet<Phase> }[]
  exchanges: readonly Exchange[]
  stored: readonly Stored[]
  offences: readonly Offence[]
  failedStarts: number
}

/** Mode → about the time of a control plane's first start; the embedded database takes seconds to be made. */
const firstStartMs: Readonly<Record<Mode, number>> = { embedded: 3_000, remote: 3_000, postgres: 900, quick: 0 }

/** Runs a round. The seed decides about requests and strikes; what they meet depends on the machine. */
export async function runRound(options: RoundOptions): Promise<RoundReport> {
  const choice = new Choice(options.seed + options.round * 7_907)
  const exchanges = new Exchanges()
  const provider = await startStandIn(exchanges)
  const commits = new Commits(exchanges)
  const deployment = await Deployment.create({ ...options, choice, onServerLine: line => commits.take(line) })
  try {
    const striker = new Striker(deployment, exchanges, choice, options.aims)
    await striker.bringUp([deployment.server], firstStartMs[options.mode])
    const key = await deployment.setUp(provider.url)
    await striker.bringUp(deployment.daemons, options.mode === 'quick' ? 0 : 450)
    const { bridges } = deployment
    const load = startLoad({ ...options, exchanges, bridges, key })
    try {
      await Promise.all(
        lanesOf(deployment).map(async daemons => {
          const bridges = new Set(daemons.map(({ name }) => name))
          const more = () => exchanges.moreAcknowledged(requestsBetween[options.mode], startTimeoutMs, bridges)
          await more()
          while (options.aims ? striker.drawn < options.aims.length : striker.kills < options.kills) {
            await striker.strike(daemons)
            await more()
          }
        }),
      )
    } finally {
      await load.stop()
    }
    const isQuick = options.mode === 'quick'
    await settle(deployment, { withRestart: !isQuick })
    options.onStruck?.()
    if (!isQuick) await allEnded(deployment)
    const stored = await readStored(deployment.client)
    const { all, strayCalls } = exchanges
    return {
      strikes: striker.strikes.map(strike => ({ strike, hits: hitsOf(strike, all) })),
      exchanges: all,
      stored,
      offences: [
        ...deployment.offences,
        ...strayCalls.map((detail): Offence => ({ kind: 'invented', tag: 'provider', detail })),
        ...offencesOf(all, stored, { mayEndLater: isQuick }),
      ],
      failedStarts: [deployment.server, ...deployment.daemons].reduce((sum, program) => sum + program.failedStarts, 0),
    }
  } finally {
    await deployment.close()
    await provider.close()
  }
}

/** Mode → requests that are acknowledged between two strikes. */
const requestsBetween: Readonly<Record<Mode, number>> = { embedded: 16, remote: 16, postgres: 16, quick: 2 }

/** Sets of daemons that are struck at the same time as the others; most deployments are struck once at a time. */
function lanesOf({ mode, daemons }: Deployment): Program[][] {
  return mode === 'quick' ? daemons.map(daemon => [daemon]) : [daemons]
}

/** Lets everything be handed over, and may stop the programs and start them once more. */
async function settle(deployment: Deployment, { withRestart }: { withRestart: boolean }): Promise<void> {
  const programs = [deployment.server, ...deployment.daemons]
  await deployment.drained(programs, startTimeoutMs)
  if (withRestart) {
    await deployment.stop()
    await deployment.up()
    await deployment.drained(programs, startTimeoutMs)
  }
}

/** Waits until every interception has an end: the control plane may have to find out that its daemon is gone. */
async function allEnded({ client }: Deployment): Promise<void> {
  const giveUpAt = performance.now() + presence.lostMs + 90_000
  while (performance.now() < giveUpAt && (await countOpen(client)) > 0) await pause(1_000)
}
