import { expect, test } from 'vitest'
import { cutText, isTextPiece, pieceOf } from '../../../../../client/bridge/injection/openai-chat/text-pieces.js'
import { fc } from '../../../../fixtures/random.js'

const pieces = (...texts: (string | undefined)[]) => texts.map(text => (text === undefined ? undefined : pieceOf(text)))

test.each<[string, (string | undefined)[], (string | undefined)[] | undefined]>([
  ['AB', ['A', 'B'], ['A', 'B']],
  ['A\n\nB', ['A\n', '\nB'], ['A\n', '\nB']],
  ['A B', ['A\n', '\nB'], ['A\n', '\nB']],
  ['A', ['A', undefined], ['A', undefined]],
  ['A', [undefined, 'A'], [undefined, 'A']],
  ['A', ['\n', 'A'], ['\n', 'A']],
  ['A', ['A', ' '], ['A', ' ']],
  ['A and more', ['A', undefined], ['A', 'and more']],
  ['X', ['A', 'B'], undefined],
  ['A', ['AB', 'C'], undefined],
  ['XB', ['A', 'B'], undefined],
])('%j is cut into %j as %j', (text, rounds, cut) => {
  expect(cutText(text, pieces(...rounds))).toEqual(cut)
})

const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\n', '🎉'), maxLength: 8 })

test('texts that were joined are cut where they were joined, trimmed or not', () => {
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), texts => {
      const joined = texts.join('')
      expect(cutText(joined, pieces(...texts))).toEqual(texts)
      const trimmed = cutText(joined.trim(), pieces(...texts))
      expect(trimmed?.map(own => own?.trim())).toEqual(texts.map(own => own.trim()))
    }),
  )
})

test('a piece is recognised after it was stored', () => {
  expect(isTextPiece(JSON.parse(JSON.stringify(pieceOf(' a '))))).toBe(true)
  expect([undefined, {}, { ...pieceOf('a'), characters: '1' }].map(isTextPiece)).toEqual([false, false, false])
})
