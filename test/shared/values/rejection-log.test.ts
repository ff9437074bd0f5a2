import { afterEach, expect, test, vi } from 'vitest'
import { RejectionLog } from '../../../shared/values/rejection-log.js'

afterEach(() => {
  vi.restoreAllMocks()
})

test('one address gets 10 lines in 10 s, all together 1,000, and the next line counts those left out', () => {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  const lines: object[] = []
  const log = new RejectionLog({ info: fields => void lines.push(fields) })
  const flood = (address: string, count: number) => {
    for (let line = 0; line < count; line++) if (log.admits(address)) lines.push({ address })
  }
  flood('192.0.2.1', 3_000)
  flood('192.0.2.2', 1)
  expect(lines).toHaveLength(11)
  expect(lines[10]).toEqual({ address: '192.0.2.2' })
  for (let peer = 0; peer < 5_000; peer++) flood(`10.0.${peer >> 8}.${peer & 255}`, 1)
  expect(lines).toHaveLength(1_000)
  now = 10_000
  flood('192.0.2.1', 1)
  expect(lines.slice(1_000)).toEqual([{ skipped: 2_990 + 5_001 - 990 }, { address: '192.0.2.1' }])
})
