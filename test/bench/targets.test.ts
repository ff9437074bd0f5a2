import { expect, test } from 'vitest'
import { gatewayTargets } from '../../bench/gateway/targets.js'
import { gatewayNames } from '../../bench/gateway.js'
import type { RowFigures } from '../../bench/row-figures.js'
import { allRows } from '../../bench/rows/all.js'
import { peerNames } from '../../bench/rows/peers.js'
import { targetLines, targets } from '../../bench/targets.js'

test('each target compares rows of the table', async () => {
  const names = [...(await allRows({ peers: false })).map(({ name }) => name), ...peerNames]
  expect(targets.flatMap(({ row, against }) => [row, ...against]).filter(name => !names.includes(name))).toEqual([])
})

test('each target of the gateways compares with a row of theirs', () => {
  const names: readonly string[] = Object.values(gatewayNames)
  expect(gatewayTargets.filter(({ against }) => !names.includes(against))).toEqual([])
})

function row(name: string, figures: Partial<RowFigures>): RowFigures {
  const none = { seqP50Us: null, callsPerSecond64: null, callsPerSecond1024: null, itemsPerSecond: null }
  return { name, ...none, heapBytesPerConnection: null, ...figures }
}

test('a target is met at its bound and missed beyond it, against the best of several rows', () => {
  const lines = targetLines([
    row('capnweb websocket', { seqP50Us: 50, callsPerSecond64: 1_000 }),
    row('orpc websocket', { seqP50Us: 90, callsPerSecond64: 3_000 }),
    row('ws echo', { seqP50Us: 20, callsPerSecond64: 4_000 }),
    row('aibridge websocket', { seqP50Us: 37, callsPerSecond64: 3_000 }),
  ])
  const fields = lines.map(line => line.split(/ {2,}/).slice(1))
  expect(fields).toEqual([
    ['one after another, µs', '1.85 × ws echo', '≤ 1.80', 'missed'],
    ['64 in flight/s', '0.75 × ws echo', '≥ 0.75', 'met'],
    ['one after another, µs', '0.74 × capnweb websocket', '≤ 1.00', 'met'],
    ['64 in flight/s', '1.00 × orpc websocket', '≥ 1.00', 'met'],
  ])
})
