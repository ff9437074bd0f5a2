import { expect, test } from 'vitest'
import { arrange, readRounds, type StoredRound } from '../../../../client/bridge/injection/stored-round.js'
import { fc } from '../../../fixtures/random.js'

const round = (...items: string[]): StoredRound => ({
  items: items.map(item => (item.startsWith('{') ? { hidden: item } : { visible: item })),
  results: [],
})
/** Arranges parts and writes each round as a line: visible parts by index, hidden items by their text. */
const arranged = (parts: string[], ...rounds: StoredRound[]) =>
  arrange(parts, rounds).map(items => items.map(item => ('part' in item ? item.part : item.hidden)).join(' '))

test.each([
  ['parts go to the items with their anchors', ['a', 'b'], ['0 {h}', '1']],
  ['a part without an anchor follows the part before', ['a', '', 'b', ''], ['0 1 {h}', '2 3']],
  ['leading parts without an anchor stand in front', ['', 'a', 'b'], ['0 1 {h}', '2']],
  ['a text that holds all rounds stands behind them', ['joined'], ['{h}', '0']],
  ['parts that the client left out leave the hidden call', ['b'], ['{h}', '0']],
  ['a history without any part leaves the hidden call', [], ['{h}', '']],
])('%s', (_, parts, expected) => {
  expect(arranged(parts, round('a', '{h}'), round('b'))).toEqual(expected)
})

test('equal parts go to equal items in order', () => {
  expect(arranged(['a', 'a', 'b'], round('a', '{1}'), round('a', '{2}'), round('b'))).toEqual(['0 {1}', '1 {2}', '2'])
})

test('the rounds of another shape are left alone', () => {
  expect(readRounds([])).toBeUndefined()
  for (const bad of [{}, { items: [{}], results: [] }, { items: [], results: [1] }, { items: [null], results: [] }]) {
    expect(readRounds([bad])).toBeUndefined()
  }
  expect(readRounds([{ items: [{ visible: 'a' }, { hidden: '{}' }], results: ['{}'] }])).toHaveLength(1)
})

test('every part is arranged once, hidden calls keep their order, and a whole history keeps its own', () => {
  const rounds = fc.array(fc.array(fc.constantFrom('a', 'b', 'c', '{h}'), { maxLength: 4 }), {
    minLength: 1,
    maxLength: 4,
  })
  fc.assert(
    fc.property(rounds, fc.array(fc.constantFrom('a', 'b', 'x', ''), { maxLength: 6 }), (lists, parts) => {
      const stored = lists.map((items, at) => round(...items.map(item => (item === '{h}' ? `{${at}}` : item))))
      const hidden = stored.flatMap(({ items }) => items.flatMap(item => ('hidden' in item ? [item.hidden] : [])))
      const items = arrange(parts, stored)
      expect(items).toHaveLength(stored.length)
      expect(items.flat().flatMap(item => ('hidden' in item ? [item.hidden] : []))).toEqual(hidden)
      const indexes = items.flat().flatMap(item => ('part' in item ? [item.part] : []))
      expect(indexes.toSorted((a, b) => a - b)).toEqual([...parts.keys()])
      // The client's whole view of the turn goes back to where it was.
      const visible = lists.flat().filter(item => item !== '{h}')
      const echoed = arrange(visible, stored).map(own => own.map(i => ('part' in i ? visible[i.part] : i.hidden)))
      expect(echoed).toEqual(stored.map(own => own.items.map(i => ('hidden' in i ? i.hidden : i.visible))))
    }),
  )
})
