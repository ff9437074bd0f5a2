/**
 * Processes that are killed under load: every request whose client has the last byte is in the database, whole and
 * once. `npm run soak -- crash --kills N --seed S --mode embedded|remote|postgres`.
 */
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { program } from '../../e2e/process.js'
import { runSeed } from '../../fixtures/random.js'
import { runCampaign } from './campaign.js'
import { type Mode, modes } from './strikes.js'
import { summaryOf } from './summary.js'

const { SOAK, SOAK_KILLS, SOAK_SEED, SOAK_MODE } = process.env

/** The temporary directory of a run is removed at the end, so logs and data of failing rounds need another place. */
const artifacts = resolve('.soak')

test.skipIf(SOAK === undefined).for(modes.filter(mode => (SOAK_MODE ?? mode) === mode))(
  'no kill of a %s deployment loses, doubles or invents a record of a request',
  { timeout: 40_000_000 },
  async (mode: Mode) => {
    const report = await runCampaign({
      mode,
      seed: Number(SOAK_SEED ?? runSeed),
      kills: Number(SOAK_KILLS ?? 100),
      commandLine: program,
      artifacts,
    })
    const { offences, ...figures } = report
    console.log(`${summaryOf(report)}\n${JSON.stringify(figures)}`)
    expect(offences.length, summaryOf(report)).toBe(0)
  },
)
