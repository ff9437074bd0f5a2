/**
 * Processes that are killed under load: every request whose client has the last byte is in the database, whole and
 * once. `npm run soak -- crash --kills N --seed S --mode embedded|remote|postgres`.
 */
import { resolve } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { program } from '../../e2e/process.js'
import { runSeed } from '../../fixtures/random.js'
import { makeDatabase } from '../../fixtures/stores.js'
import { type CampaignOptions, runCampaign } from './campaign.js'
import { flaws, plantFlaw, withFlaw } from './planted-build.js'
import { modes } from './strikes.js'
import { summaryOf } from './summary.js'

const { SOAK, SOAK_KILLS, SOAK_SEED, SOAK_MODE } = process.env

/** The temporary directory of a run is removed at the end, so logs and data of failing rounds need another place. */
const artifacts = resolve('.soak')

const seed = Number(SOAK_SEED ?? runSeed)
const kills = Number(SOAK_KILLS ?? 100)

/** The daemons of the sample are killed often, the control plane now and then, a database never: the cheapest form. */
test('thirty kills lose, double and invent no record', { timeout: 300_000 }, async () => {
  const database = await makeDatabase()
  onTestFinished(database.drop)
  const report = await runCampaign({
    mode: 'quick',
    seed: 1,
    kills: 30,
    killsPerRound: 30,
    workers: 4,
    commandLine: program,
    databaseUrl: database.url,
  })
  expect(report.offences.length, summaryOf(report)).toBe(0)
})

test.for(Object.keys(flaws))('the build has the line in which the flaw %s is planted', async name => {
  const { planted } = await withFlaw(name)
  expect(planted).not.toBe('')
})

describe.runIf(SOAK !== undefined)('a long run', { timeout: 40_000_000 }, () => {
  test.for(modes.filter(mode => (SOAK_MODE ?? mode) === mode))(
    'no kill of processes loses, doubles or invents a record: %s',
    async mode => {
      const { offences, ...figures } = await campaign({ mode, seed, kills, commandLine: program, artifacts })
      console.log(JSON.stringify(figures))
      expect(offences.length).toBe(0)
    },
  )

  test.runIf(SOAK_MODE === undefined)(
    'a database that refuses or stands still for a minute loses nothing',
    async () => {
      const aims = (['refuse', 'freeze'] as const).map(
        manner => ({ manner, victim: 'postgres', phase: 'streaming', forMs: 60_000 }) as const,
      )
      const { offences } = await campaign({ mode: 'postgres', seed, kills: 1, aims, commandLine: program, artifacts })
      expect(offences.length).toBe(0)
    },
  )

  test.for(SOAK_MODE === undefined ? Object.keys(flaws) : [])('the harness finds the planted flaw %s', async name => {
    const { commandLine, found, remove } = await plantFlaw(name)
    const { offences } = await campaign({ mode: 'remote', seed, kills: 40, commandLine })
    await remove()
    expect(offences.map(({ kind }) => kind)).toContain(found)
  })
})

async function campaign(options: CampaignOptions) {
  const report = await runCampaign(options)
  console.log(summaryOf(report))
  return report
}
