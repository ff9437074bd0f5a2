import { describe, expect, test } from 'vitest'
import {
  digest,
  idAnchor,
  matchTurns,
  placedAnchors,
  textAnchor,
  wordsDigest,
} from '../../../../client/bridge/injection/anchors.js'
import { fc } from '../../../fixtures/random.js'

const words = (...texts: string[]) => wordsDigest({ texts, results: [] })
const anchorsAt = (place: number, said: string, text: string) => {
  const own = textAnchor(text)
  return own === undefined ? [] : placedAnchors(own, { after: words(said), place })
}
/** Returns the place of each stored turn, undefined for one that was not found. */
const placesOf = (places: string[][], ...stored: string[][]) => {
  const turns = stored.map(anchors => ({ anchors }))
  const found = matchTurns(places, turns)
  return turns.map(turn => found.get(turn))
}
const long = 'a sentence of more than sixty-four characters, blanks not counted, as models write them'

describe('stored turns are found in a history', () => {
  test('a text is found although the client has trimmed it', () => {
    expect(placesOf([anchorsAt(0, 'go', 'Done.')], anchorsAt(0, 'go', '\n\nDone. '))).toEqual([0])
  })

  test('the same text after other words of the user is another turn', () => {
    expect(placesOf([anchorsAt(0, 'go', 'Done.')], anchorsAt(0, 'stop', 'Done.'))).toEqual([undefined])
  })

  test('a long text is found after other words too', () => {
    expect(placesOf([anchorsAt(3, 'go', long)], anchorsAt(0, 'stop', long))).toEqual([0])
  })

  test('the place tells equal texts after equal words apart', () => {
    const history = [0, 1, 2].map(place => anchorsAt(place, 'go on', 'Done.'))
    expect(placesOf(history, anchorsAt(1, 'go on', 'Done.'))).toEqual([1])
    expect(placesOf(history, anchorsAt(2, 'go on', 'Done.'), anchorsAt(0, 'go on', 'Done.'))).toEqual([2, 0])
  })

  test('of a repeated turn the newest counts, and the older ones go nowhere else', () => {
    const history = [anchorsAt(0, 'go on', 'Done.'), anchorsAt(1, 'go on', 'Done.')]
    const repeated = anchorsAt(0, 'go on', 'Done.')
    expect(placesOf(history, repeated, [...repeated])).toEqual([undefined, 0])
  })

  test('turns and places are paired from the end if the history has lost its beginning', () => {
    const history = [anchorsAt(0, 'go on', 'Done.'), anchorsAt(1, 'go on', 'Done.')]
    const stored = [4, 5, 6].map(place => anchorsAt(place, 'go on', 'Done.'))
    expect(placesOf(history, ...stored)).toEqual([undefined, 0, 1])
  })

  test('an id decides against texts', () => {
    const call = idAnchor('call', 'call_1')
    const history = [anchorsAt(0, 'go', 'Done.'), [...anchorsAt(1, 'then', 'Other.'), call]]
    expect(placesOf(history, [...anchorsAt(0, 'go', 'Done.'), call])).toEqual([1])
  })

  test('a place with an id of its own belongs to no turn without it', () => {
    expect(placesOf([[...anchorsAt(0, 'go', 'Done.'), idAnchor('call', 'a')]], anchorsAt(0, 'go', 'Done.'))).toEqual([
      undefined,
    ])
  })

  test('two turns are found in one place by their ids', () => {
    const [a, b] = [idAnchor('call', 'a'), idAnchor('call', 'b')]
    expect(placesOf([[a, b]], [a], [b])).toEqual([0, 0])
  })

  test('thinking that the client left out does not hide the text beside it', () => {
    expect(
      placesOf([anchorsAt(0, 'go', 'Done.')], [idAnchor('thinking', 's'), ...anchorsAt(0, 'go', 'Done.')]),
    ).toEqual([0])
  })
})

test('the elements that clients put around words do not change their digest', () => {
  expect(words('<system-reminder>Today is Monday.</system-reminder>\n list files')).toBe(words('list files'))
  expect(words('<system-reminder>1</system-reminder>', 'list files')).toBe(words('list files '))
  expect(words('list', 'files')).not.toBe(words('listfiles'))
})

test('results of tools count by their calls, not by the words beside them', () => {
  const results = ['toolu_1']
  expect(wordsDigest({ texts: ['a'], results })).toBe(wordsDigest({ texts: [], results }))
  expect(wordsDigest({ texts: [], results: ['toolu_2'] })).not.toBe(wordsDigest({ texts: [], results }))
})

test('lists of texts that are cut in other ways have other digests', () => {
  expect(new Set([digest('ab', 'c'), digest('a', 'bc'), digest('abc'), digest('abc', '')]).size).toBe(4)
})

test('blanks alone have no anchor', () => {
  expect(textAnchor(' \n\t')).toBeUndefined()
})

/** Few words and texts, so that many turns look alike. */
const spoken = fc.record({
  said: fc.constantFrom('go on', 'again'),
  text: fc.constantFrom('Done.', 'Yes.', long),
  call: fc.option(fc.uuid(), { nil: undefined }),
  isStored: fc.boolean(),
})
const conversations = fc.array(spoken, { maxLength: 12 })
const anchorsOf = ({ said, text, call }: { said: string; text: string; call: string | undefined }, place: number) => [
  ...anchorsAt(place, said, text),
  ...(call === undefined ? [] : [idAnchor('call', call)]),
]

test('in an unchanged history every stored turn is found at its place', () => {
  fc.assert(
    fc.property(conversations, conversation => {
      const places = conversation.map(anchorsOf)
      const stored = conversation.flatMap(({ isStored }, place) => (isStored ? [place] : []))
      const expected = stored.filter(place => (places[place] ?? []).length > 0)
      expect(placesOf(places, ...stored.map(place => places[place] ?? []))).toEqual(expected)
    }),
  )
})

test('in a history without its beginning no turn is found at the place of another one', () => {
  fc.assert(
    fc.property(conversations, fc.nat(6), (conversation, lost) => {
      const places = conversation.slice(lost).map(anchorsOf)
      const stored = conversation.map(anchorsOf)
      const expected = stored.map((_, place) => (place < lost ? undefined : place - lost))
      const found = placesOf(places, ...stored)
      for (const [place, at] of found.entries())
        if (at !== undefined) expect(conversation[at + lost]).toMatchObject({ text: conversation[place]?.text })
      // With every turn stored nothing is ambiguous.
      expect(found.filter(at => at !== undefined)).toHaveLength(expected.filter(at => at !== undefined).length)
    }),
  )
})
