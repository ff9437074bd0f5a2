/** Lying servers of a client: any messages, frames and cuts. `npm run soak -- fuzz` runs a million cases. */
import { expect, it } from 'vitest'
import { runSeed } from '../../fixtures/random.js'
import { campaign } from './campaign.js'
import { lyingServers } from './lying-server.js'

const cases = process.env.SOAK === undefined ? 600 : Number(process.env.SOAK_CASES ?? 1_000_000)

it('no server ends a client, leaves a call without an end, or gives it two', async () => {
  const target = lyingServers()
  const result = await campaign(target, Number(process.env.SOAK_FROM ?? runSeed), cases)
  await target.close()
  if (process.env.SOAK !== undefined) console.log('lying servers', JSON.stringify(result))
  expect(result.heapAfter - result.heapBefore).toBeLessThan(8 * 1024 * 1024)
}, 40_000_000)
