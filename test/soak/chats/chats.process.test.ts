/**
 * Chats on three replicas that are killed, and stopped for longer than their leases: the accounts of provider, agent,
 * database and watchers agree. `npm run soak -- chats --kills N --seed S`.
 */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { runSeed } from '../../fixtures/random.js'
import { buildWithShortTimes, chatFlaws, shortLeaseMs } from './builds.js'
import { Deployment } from './deployment.js'
import { type RoundReport, runRound } from './round.js'

const { SOAK, SOAK_KILLS, SOAK_SEED } = process.env
const seed = Number(SOAK_SEED ?? runSeed)
const strikes = Number(SOAK_KILLS ?? 200)
const strikesPerRound = Math.min(20, strikes)

/** Runs a round with short leases in a folder that is kept if the round shows an offence. */
async function round(options: { seed: number; commandLine: string }): Promise<RoundReport> {
  const directory = await mkdtemp(join(tmpdir(), 'chats-'))
  const report = await runRound({
    seed: options.seed,
    open: choice => Deployment.create({ directory, commandLine: options.commandLine, choice }),
    chats: 4,
    messages: 4,
    watchers: 2,
    strikes: strikesPerRound,
    leaseMs: shortLeaseMs,
  })
  if (report.offences.length > 0) {
    const kept = resolve('.soak', `chats-${options.seed}`)
    await mkdir(kept, { recursive: true })
    await cp(directory, kept, { recursive: true, filter: path => /\.log$|workspace|chats-[^/]*$/.test(path) })
    const { stored, interceptions, ...accounts } = report.accounts
    const all = { offences: report.offences, stored: [...stored], interceptions: [...interceptions], ...accounts }
    await writeFile(join(kept, 'accounts.json'), JSON.stringify(all, undefined, 1))
  }
  await rm(directory, { recursive: true, force: true })
  return report
}

const shown = ({ offences }: RoundReport) =>
  offences.slice(0, 10).map(({ kind, tag, detail }) => `${kind} ${tag}: ${detail}`)

describe.runIf(SOAK !== undefined)('a long run', { timeout: 40_000_000 }, () => {
  test('no strike loses, doubles or invents a message, and no watcher sees a stale part', async () => {
    const { commandLine, remove } = await buildWithShortTimes()
    onTestFinished(remove)
    const sums = { kills: 0, freezes: 0, hits: 0, chats: 0, calls: 0, runs: 0, messages: 0 }
    const found: string[] = []
    for (let number = 0; sums.kills + sums.freezes < strikes; number++) {
      const report = await round({ seed: seed + number * 7_907, commandLine })
      const { accounts, kills, freezes, hits } = report
      sums.kills += kills
      sums.freezes += freezes
      sums.hits += hits
      sums.chats += accounts.chats.length
      sums.calls += accounts.calls.length
      sums.runs += accounts.runs.length
      sums.messages += [...accounts.stored.values()].reduce((sum, { messages }) => sum + messages.length, 0)
      found.push(...shown(report))
      console.log(JSON.stringify({ seed: seed + number * 7_907, ...sums, offences: found.length }))
    }
    expect(found).toEqual([])
  })

  test.for(Object.keys(chatFlaws))('the judge finds the planted flaw %s', async name => {
    const { commandLine, remove } = await buildWithShortTimes(name)
    onTestFinished(remove)
    const kinds = new Set<string>()
    for (let number = 0; number < 5 && kinds.size === 0; number++) {
      const { offences } = await round({ seed: seed + number, commandLine })
      for (const { kind } of offences) if (chatFlaws[name]?.found.includes(kind)) kinds.add(kind)
    }
    expect(kinds.size).toBeGreaterThan(0)
  })
})
