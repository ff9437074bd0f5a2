/** Runs many cases, several at a time, and checks after each what must hold whatever a peer does. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { expect } from 'vitest'
import { heapUsed } from './heap.js'
import { minimise, type Script } from './script.js'

/** One end of the transport that is attacked. */
export interface Target {
  make(seed: number): Script
  /** Runs one case. Resolves with the broken rule, or undefined. */
  run(script: Script): Promise<string | undefined>
  /** Returns the rule of the whole process that is broken after a case, once all of the case is over. */
  left(): string | undefined
  close(): Promise<void>
}

export interface CampaignResult {
  cases: number
  seconds: number
  /** heap after the first tenth and at the end, in bytes */
  heapBefore: number
  heapAfter: number
}

/** cases under way at once: timers of one are waited for while others run */
const atOnce = 64

const stoodStill = 'the event loop stood still'

/** The whole process may be busy with other work; a case that blocks takes longer than this by itself. */
const blockedMs = 3_000

/** @throws Error with a minimal script for the first case that breaks a rule */
export async function campaign(target: Target, firstSeed: number, cases: number): Promise<CampaignResult> {
  const unhandled: unknown[] = []
  const onUnhandled = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', onUnhandled)
  process.on('uncaughtException', onUnhandled)
  const delay = monitorEventLoopDelay()
  delay.enable()
  const prototypes = prototypeValues()
  /** Runs cases to their end, and returns the first broken rule. */
  const check = async (scripts: readonly Script[]): Promise<string | undefined> => {
    delay.reset()
    const problems = await Promise.all(scripts.map(script => target.run(script)))
    const problem = problems.find(one => one !== undefined)
    if (problem !== undefined) return problem
    await gone(target)
    if (unhandled.length > 0) return `an error that nobody handles: ${textOf(unhandled.splice(0)[0])}`
    const values = prototypeValues()
    if (values.length !== prototypes.length || values.some((value, index) => value !== prototypes[index]))
      return 'a prototype has changed'
    if (delay.max > blockedMs * 1e6) return `${stoodStill} for ${Math.round(delay.max / 1e6)} ms`
    return target.left()
  }
  const startedAt = performance.now()
  const handlesBefore = handles()
  // Stacks take a tenth of the time; the case that fails runs again with them.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  let heapBefore = 0
  try {
    for (let seed = firstSeed; seed < firstSeed + cases; seed += atOnce) {
      const scripts = Array.from({ length: Math.min(atOnce, firstSeed + cases - seed) }, (_, index) =>
        target.make(seed + index),
      )
      const problem = await check(scripts)
      if (problem !== undefined) {
        Error.stackTraceLimit = stackTraceLimit
        const error = await explained(problem, scripts, check)
        if (error) throw error
        Error.stackTraceLimit = 0
      }
      if (heapBefore === 0 && seed + atOnce - firstSeed >= cases / 10) heapBefore = heapUsed()
    }
    const seconds = (performance.now() - startedAt) / 1_000
    await expect.poll(handles).toBeLessThanOrEqual(handlesBefore)
    return { cases, seconds, heapBefore, heapAfter: heapUsed() }
  } finally {
    Error.stackTraceLimit = stackTraceLimit
    process.off('unhandledRejection', onUnhandled)
    process.off('uncaughtException', onUnhandled)
    delay.disable()
  }
}

/** Finds the case of a broken rule by running each alone. Returns undefined for a pause that was not this process's. */
async function explained(
  problem: string,
  scripts: readonly Script[],
  check: (scripts: readonly Script[]) => Promise<string | undefined>,
): Promise<Error | undefined> {
  for (const script of scripts) {
    const alone = await check([script])
    if (alone === undefined) continue
    const shortest = await minimise(script, async shorter => (await check([shorter])) !== undefined)
    return new Error(`case ${script.seed}: ${alone}\n${JSON.stringify(shortest, undefined, 1)}`)
  }
  if (problem.startsWith(stoodStill)) return undefined
  return new Error(`cases ${scripts[0]?.seed} to ${scripts.at(-1)?.seed}, none of them alone: ${problem}`)
}

/** Closed things are gone some turns later, sockets when the system says so. */
async function gone(target: Target): Promise<void> {
  const giveUpAt = performance.now() + 5_000
  do await turn()
  while (target.left() !== undefined && performance.now() < giveUpAt)
}

/** Sockets, servers and timers that keep the process alive. */
function handles(): number {
  return process.getActiveResourcesInfo().filter(name => /^TCP|^Timeout$/.test(name)).length
}

export const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

const classes = [Object, Array, Map, Set, Date, Error, String, Number, Function, Promise]

/** Returns all values of the prototypes that a peer might reach, and their number. */
function prototypeValues(): unknown[] {
  return classes.flatMap(({ prototype }) =>
    Reflect.ownKeys(prototype).map(key => Object.getOwnPropertyDescriptor(prototype, key)?.value),
  )
}

function textOf(thrown: unknown): string {
  return thrown instanceof Error ? String(thrown.stack) : String(thrown)
}
