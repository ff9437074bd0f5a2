/** Carries out the strikes of a round. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Choice } from '../transport/choice.js'
import { type Deployment, startTimeoutMs, type Victim } from './deployment.js'
import type { Exchange, Exchanges, Moment } from './exchanges.js'
import type { Program } from './program.js'
import { type Aim, decks, type Manner, type Strike } from './strikes.js'

/** Moment of a request at which a strike waits → the phase that it means to hit. */
const moments: Readonly<Record<Exclude<Aim['phase'], 'recovery' | 'stopping'>, Moment>> = {
  beginning: 'asked',
  streaming: 'streaming',
  appending: 'sent',
  committing: 'acknowledged',
}

/** an outage of the database that is longer than all deadlines of calls */
const longPauseMs = 60_000

/** The hand that strikes. */
export class Striker {
  readonly strikes: Strike[] = []
  kills = 0
  /** number of aims that were drawn from the deck */
  drawn = 0
  readonly #deployment: Deployment
  readonly #exchanges: Exchanges
  readonly #choice: Choice
  readonly #aims: readonly Aim[]
  #deck: Aim[] = []

  /**
   * @param choice decides about strikes and their moments
   * @param aims the deck, by default that of the mode
   */
  constructor(deployment: Deployment, exchanges: Exchanges, choice: Choice, aims = decks[deployment.mode]) {
    this.#aims = aims
    this.#deployment = deployment
    this.#exchanges = exchanges
    this.#choice = choice
  }

  /** Brings programs up, and kills each once or twice while it starts for the first time, unless that takes 0 ms. */
  async bringUp(programs: readonly Program[], firstStartMs: number): Promise<void> {
    const { database } = this.#deployment
    for (const program of firstStartMs === 0 ? [] : programs) {
      for (let left = 1 + this.#choice.below(2); left > 0 && !program.wasReady; left--) {
        program.start()
        await pause(this.#choice.below(firstStartMs))
        // A database may die below a control plane that makes its tables.
        await this.#kill(database && this.#choice.chance(0.3) ? [program, database] : [program])
        await database?.up()
      }
    }
    await Promise.all(programs.map(program => program.up(startTimeoutMs)))
  }

  /**
   * Carries out the next strike, and brings its victims up again.
   * @param daemons the daemons among which a victim is chosen
   */
  async strike(daemons: readonly Program[]): Promise<void> {
    const aim = this.#nextAim()
    const all = this.#deployment.victims(aim.victim)
    const victims = aim.victim === 'all' ? all : [this.#choice.pick(aim.victim === 'daemon' ? daemons : all)]
    await this.#carryOut(aim, victims)
    if (this.#choice.chance(0.5)) await pause(this.#choice.below(400))
    await this.#deployment.up(victims)
  }

  #nextAim(): Aim {
    if (this.#deck.length === 0) this.#deck = shuffled(this.#aims, this.#choice)
    this.drawn++
    return this.#deck.pop() ?? this.#nextAim()
  }

  async #carryOut({ manner, phase, forMs }: Aim, victims: readonly Victim[]): Promise<void> {
    const { database } = this.#deployment
    if (manner === 'kill' && phase === 'recovery') return this.#duringRecovery(victims)
    if (manner === 'kill' && phase === 'stopping') return this.#whileStopping(victims)
    await this.#moment(phase, victims)
    if (manner === 'kill') return this.#kill(victims)
    if (manner === 'terminate') return this.#terminateSome()
    this.#note(manner, victims)
    if (manner === 'crash') return database?.crash(this.#choice.next())
    if (manner === 'refuse') await database?.shutDown()
    else database?.freeze()
    await pause(forMs ?? (this.#choice.chance(0.1) ? longPauseMs : 200 + this.#choice.below(3_000)))
    if (manner === 'freeze') database?.thaw()
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
    await pause(this.#choice.below(150))
    await this.#kill(victims)
    await Promise.all(stopped)
  }

  async #terminateSome(): Promise<void> {
    const { server, daemons, database } = this.#deployment
    const all = [server, ...daemons]
    const some = all.filter(() => this.#choice.chance(0.7))
    const victims = some.length === 0 ? all : some
    if (this.#choice.chance(0.5)) victims.reverse()
    this.#note('terminate', victims)
    const ended: Promise<unknown>[] = []
    // A machine that shuts down ends its database as well, in an order of its own.
    if (database && this.#choice.chance(0.3)) ended.push(database.shutDown())
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

/** Returns the items in another order (Fisher and Yates). */
function shuffled<T>(items: readonly T[], choice: Choice): T[] {
  const left = [...items]
  return items.flatMap(() => left.splice(choice.below(left.length), 1))
}
