/** One life of a deployment: a first start, load, strikes, a clean end, and the comparison of the accounts. */
import { setTimeout as pause } from 'node:timers/promises'
import { Choice } from '../transport/choice.js'
import { Commits } from './commits.js'
import { Deployment, startTimeoutMs, type Victim } from './deployment.js'
import { type Exchange, Exchanges, type Moment } from './exchanges.js'
import { hitsOf } from './hits.js'
import { startLoad } from './load.js'
import { type Offence, offencesOf } from './offences.js'
import { startStandIn } from './stand-in.js'
import { countOpen, readStored, type Stored } from './stored.js'
import { type Aim, decks, type Manner, type Mode, type Phase, type Strike } from './strikes.js'

/** Options of {@link runRound}. */
export interface RoundOptions {
  mode: Mode
  seed: number
  /** number of the round */
  round: number
  /** the round ends when so many kills were made */
  kills: number
  /** the path of the built command line */
  commandLine: string
  /** an empty folder; logs and data stay there */
  directory: string
  workers: number
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
const firstStartMs: Readonly<Record<Mode, number>> = { embedded: 3_000, remote: 3_000, postgres: 900 }

/** Runs a round. The seed decides about requests and strikes; what they meet depends on the machine. */
export async function runRound(options: RoundOptions): Promise<RoundReport> {
  const choice = new Choice(options.seed + options.round * 7_907)
  const exchanges = new Exchanges()
  const provider = await startStandIn(exchanges)
  const commits = new Commits(exchanges)
  const deployment = await Deployment.create({ ...options, choice, onServerLine: line => commits.take(line) })
  try {
    const striker = new Striker(deployment, exchanges, choice)
    await striker.duringFirstStart(deployment.server, firstStartMs[options.mode])
    const key = await deployment.setUp(provider.url)
    for (const daemon of deployment.daemons) await striker.duringFirstStart(daemon, 450)
    const { bridges } = deployment
    const load = startLoad({ ...options, exchanges, bridges, key })
    try {
      const settled = 2 * options.workers
      await exchanges.moreAcknowledged(settled, startTimeoutMs)
      while (striker.kills < options.kills) {
        await striker.strike(striker.nextAim())
        await deployment.up()
        await exchanges.moreAcknowledged(settled, startTimeoutMs)
      }
    } finally {
      await load.stop()
    }
    await settle(deployment)
    const stored = await readStored(deployment.client)
    const { all, strayCalls } = exchanges
    return {
      strikes: striker.strikes.map(strike => ({ strike, hits: hitsOf(strike, all) })),
      exchanges: all,
      stored,
      offences: [
        ...deployment.offences,
        ...strayCalls.map((detail): Offence => ({ kind: 'invented', tag: 'provider', detail })),
        ...offencesOf(all, stored),
      ],
      failedStarts: [deployment.server, ...deployment.daemons].reduce((sum, program) => sum + program.failedStarts, 0),
    }
  } finally {
    await deployment.close()
    await provider.close()
  }
}

/** Lets everything be handed over, stops the programs, and starts them once more. */
async function settle(deployment: Deployment): Promise<void> {
  await deployment.drained(startTimeoutMs)
  await deployment.stop()
  await deployment.up()
  await deployment.drained(startTimeoutMs)
  // Ends of others may follow the replay.
  const giveUpAt = performance.now() + 5_000
  while (performance.now() < giveUpAt && (await countOpen(deployment.client)) > 0) await pause(200)
}

/** Moment of a request at which a strike waits → the phase that it means to hit. */
const moments: Readonly<Record<Exclude<Aim['phase'], 'recovery' | 'stopping'>, Moment>> = {
  beginning: 'asked',
  streaming: 'streaming',
  appending: 'sent',
  committing: 'acknowledged',
}

/** Carries out strikes. */
class Striker {
  readonly strikes: Strike[] = []
  kills = 0
  readonly #deployment: Deployment
  readonly #exchanges: Exchanges
  readonly #choice: Choice
  #deck: Aim[] = []

  constructor(deployment: Deployment, exchanges: Exchanges, choice: Choice) {
    this.#deployment = deployment
    this.#exchanges = exchanges
    this.#choice = choice
  }

  nextAim(): Aim {
    if (this.#deck.length === 0) {
      this.#deck = [...decks[this.#deployment.mode]]
      // Fisher and Yates' shuffle.
      for (let last = this.#deck.length - 1; last > 0; last--) {
        const other = this.#choice.below(last + 1)
        const [a, b] = [this.#deck[last], this.#deck[other]]
        if (a && b) [this.#deck[last], this.#deck[other]] = [b, a]
      }
    }
    return this.#deck.pop() ?? this.nextAim()
  }

  /** Kills a program once or twice while it starts for the first time, and brings it up. */
  async duringFirstStart(victim: Victim, mostMs: number): Promise<void> {
    for (let left = 1 + this.#choice.below(2); left > 0 && !victim.wasReady; left--) {
      victim.start()
      await pause(this.#choice.below(mostMs))
      // A database may die below a control plane that makes its tables.
      const { database } = this.#deployment
      await this.#kill(database && this.#choice.chance(0.3) ? [victim, database] : [victim])
      await database?.up()
    }
    await victim.up(startTimeoutMs)
  }

  async strike({ manner, victim: role, phase }: Aim): Promise<void> {
    const victims =
      role === 'all' ? this.#deployment.victims('all') : [this.#choice.pick(this.#deployment.victims(role))]
    switch (manner) {
      case 'kill':
        if (phase === 'recovery') await this.#duringRecovery(victims)
        else if (phase === 'stopping') await this.#whileStopping(victims)
        else {
          await this.#moment(phase, victims)
          await this.#kill(victims)
        }
        break
      case 'terminate':
        await this.#moment(phase, victims)
        await this.#terminateSome()
        break
      case 'refuse':
        await this.#moment(phase, victims)
        this.#note('refuse', victims)
        await this.#deployment.database?.shutDown()
        await pause(200 + this.#choice.below(3_000))
        break
      case 'freeze':
        await this.#moment(phase, victims)
        this.#note('freeze', victims)
        this.#deployment.database?.freeze()
        await pause(200 + this.#choice.below(3_000))
        this.#deployment.database?.thaw()
        break
    }
    if (this.#choice.chance(0.5)) await pause(this.#choice.below(400))
  }

  /** Waits until a request of the victims comes to a phase, and then for a few milliseconds. */
  async #moment(phase: Aim['phase'], victims: readonly Victim[]): Promise<void> {
    const bridges = new Set(this.#deployment.bridges.map(({ name }) => name))
    const names = new Set(victims.map(({ name }) => name).filter(name => bridges.has(name)))
    const fits = ({ bridge }: Exchange) => names.size === 0 || names.has(bridge)
    if (phase !== 'recovery' && phase !== 'stopping') await this.#exchanges.next(moments[phase], fits)
    await shortPause(4 * this.#choice.next() ** 3)
  }

  async #duringRecovery(victims: readonly Victim[]): Promise<void> {
    await this.#moment('committing', victims)
    await this.#kill(victims)
    for (let left = 1 + this.#choice.below(2); left > 0; left--) {
      for (const victim of victims) victim.start()
      await pause(this.#choice.below(this.#startMs(victims)))
      await this.#kill(victims)
    }
  }

  /** The time that the victims' last start took, and some of the time behind it. */
  #startMs(victims: readonly Victim[]): number {
    const times = victims.flatMap(({ runs }) =>
      runs.flatMap(({ startedAt, readyAt }) => (readyAt === undefined ? [] : [readyAt - startedAt])),
    )
    return 1.3 * (times.at(-1) ?? 500) + 50
  }

  async #whileStopping(victims: readonly Victim[]): Promise<void> {
    await this.#moment('streaming', victims)
    const stopped = victims.map(victim => ('terminate' in victim ? victim.terminate(startTimeoutMs) : undefined))
    await pause(this.#choice.below(300))
    await this.#kill(victims)
    await Promise.all(stopped)
  }

  async #terminateSome(): Promise<void> {
    const { server, daemons } = this.#deployment
    const all = [server, ...daemons]
    const some = all.filter(() => this.#choice.chance(0.7))
    const victims = some.length === 0 ? all : some
    if (this.#choice.chance(0.5)) victims.reverse()
    this.#note('terminate', victims)
    const ended: Promise<unknown>[] = []
    for (const victim of victims) {
      ended.push(victim.terminate(startTimeoutMs))
      if (this.#choice.chance(0.5)) await pause(this.#choice.below(100))
    }
    await Promise.all(ended)
  }

  async #kill(victims: readonly Victim[]): Promise<void> {
    this.kills++
    this.#note('kill', victims)
    await Promise.all(victims.map(victim => victim.kill()))
  }

  #note(manner: Manner, victims: readonly Victim[]): void {
    this.strikes.push({
      at: performance.now(),
      manner,
      victims: victims.map(victim => ({
        name: victim.name,
        role: this.#deployment.roleOf(victim),
        state: victim.state,
        wasReady: victim.wasReady,
        runStartedAt: victim.runs.at(-1)?.startedAt ?? 0,
      })),
    })
  }
}

/** Waits for parts of a millisecond too, without keeping the thread. */
async function shortPause(ms: number): Promise<void> {
  const end = performance.now() + ms
  while (performance.now() < end) await new Promise<void>(resolve => setImmediate(resolve))
}
