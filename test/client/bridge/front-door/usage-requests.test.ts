import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { UsageRequests } from '../../../../client/bridge/front-door/usage-requests.js'

test('a model is remembered by its whole name, of any length', () => {
  const requests = new UsageRequests()
  const long = 'm'.repeat(1_000_000)
  requests.rejected('p', `${long}a`)
  expect([
    requests.mayAsk('p', `${long}a`),
    requests.mayAsk('p', `${long}b`),
    requests.mayAsk('q', `${long}a`),
  ]).toEqual([false, true, true])
})

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void // the flag defines it

test('the memory of models is bounded, in number and in bytes', () => {
  const requests = new UsageRequests()
  const pad = 'm'.repeat(100_000)
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  for (let model = 0; model < 2_000; model++) requests.rejected('p', `${pad}${model}`)
  collectGarbage()
  // 2,000 names of these are 200 MB, the thousand that are remembered 100 MB.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(60_000_000)
  expect([requests.mayAsk('p', `${pad}0`), requests.mayAsk('p', `${pad}1999`)]).toEqual([true, false])
})
