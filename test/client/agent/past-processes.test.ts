import { expect, test } from 'vitest'
import { PastProcesses } from '../../../client/agent/past-processes.js'
import { processLimits } from '../../../shared/contract/limits.js'

test('16,384 past ids are kept, the oldest go first', () => {
  const past = new PastProcesses()
  const tombstone = { kind: 'tombstone', scope: undefined } as const
  for (let n = 0; n <= processLimits.maxPast; n++) past.add(`${n}`, tombstone)
  expect([past.get('0'), past.get('1'), past.get('16384')]).toEqual([undefined, tombstone, tombstone])
})
