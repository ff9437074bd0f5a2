/** The lying peers on real sockets: a sample of the cases, with the handshake's bytes. */
import { expect, it } from 'vitest'
import { runSeed } from '../../fixtures/random.js'
import { campaign } from './campaign.js'
import { lyingClients } from './lying-client.js'
import { lyingServers } from './lying-server.js'

const cases = process.env.SOAK === undefined ? 60 : 20_000

it.each([
  ['clients', lyingClients],
  ['servers', lyingServers],
])(
  'no lying %s over TCP end a process, or keep a good peer waiting',
  async (name, make) => {
    const target = make({ overTcp: true })
    const result = await campaign(target, Number(process.env.SOAK_FROM ?? runSeed), cases)
    await target.close()
    if (process.env.SOAK !== undefined) console.log('lying', name, 'over TCP', JSON.stringify(result))
    expect(result.heapAfter - result.heapBefore).toBeLessThan(8 * 1024 * 1024)
  },
  4_000_000,
)
