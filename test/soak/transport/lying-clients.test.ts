/** Lying clients of a server: any messages, frames and cuts. `npm run soak -- fuzz` runs a million cases. */
import { expect, it } from 'vitest'
import { runSeed } from '../../fixtures/random.js'
import { campaign } from './campaign.js'
import { lyingClients } from './lying-client.js'

const cases = process.env.SOAK === undefined ? 1_000 : Number(process.env.SOAK_CASES ?? 1_000_000)

it('no client ends a server, gets two responses to one message, or keeps a good client waiting', async () => {
  const target = lyingClients()
  const result = await campaign(target, Number(process.env.SOAK_FROM ?? runSeed), cases)
  await target.close()
  if (process.env.SOAK !== undefined) console.log('lying clients', JSON.stringify(result))
  expect(result.heapAfter - result.heapBefore).toBeLessThan(8 * 1024 * 1024)
}, 40_000_000)
