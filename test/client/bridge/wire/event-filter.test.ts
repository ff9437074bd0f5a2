import { describe, expect, test } from 'vitest'
import { EventFilter } from '../../../../client/bridge/wire/event-filter.js'
import { fc } from '../../../fixtures/random.js'

const hidesX = () => new EventFilter({ marker: 'x', hides: ({ data }) => data.includes('x') })

function filtered(chunks: readonly (string | Buffer)[]): string[] {
  const filter = hidesX()
  return [...chunks.map(chunk => filter.push(Buffer.from(chunk)).toString()), filter.end().toString()]
}

describe('events with the marker are left out, and every other byte passes', () => {
  test.each([
    ['data: a\n\ndata: x\n\ndata: b\n\n', 'data: a\n\ndata: b\n\n'],
    ['data: a\r\n\r\ndata: x\r\n\r\ndata: b\r\n\r\n', 'data: a\r\n\r\ndata: b\r\n\r\n'],
    ['data: a\r\rdata: x\r\rdata: b\r\r', 'data: a\r\rdata: b\r\r'],
    ['data: x\n\n\n\ndata: b', '\n\ndata: b'],
    [': comment\ndata: x\nid: 1\n\n: another\n\n', ': comment\n: another\n\n'],
    ['data: x\n: comment\n\n', ''],
    ['event: x\ndata: a\n\n', 'event: x\ndata: a\n\n'],
    ['\ufeff{"x":\n\ndata: x\n\n', '\ufeff{"x":\n\ndata: x\n\n'],
    [' \n[\ndata: x\n\n', ' \n[\ndata: x\n\n'],
    ['data: a\ndata: x\n\n', ''],
    ['data: x', ''],
    ['\n\ndata: é🎉\n\n', '\n\ndata: é🎉\n\n'],
    ['', ''],
  ])('%j', (text, passed) => {
    expect(filtered([text]).join('')).toBe(passed)
    expect(filtered(Array.from(Buffer.from(text), byte => Buffer.of(byte))).join('')).toBe(passed)
  })

  test('an event passes as soon as its blank line is there', () => {
    expect(filtered(['data: a\n', '\ndata: b', '\n\n', 'data: x\r\n\r', '\ndata: c\r\n\r', '\n'])).toEqual([
      '',
      'data: a\n\n',
      'data: b\n\n',
      '',
      'data: c\r\n\r',
      '\n',
      '',
    ])
  })

  test('a comment passes as soon as its line is there, and a body at once', () => {
    expect(filtered([': PROCESS', 'ING\r', '\n', ':\n', 'data: a\n', ': held\n', '\n'])).toEqual([
      '',
      ': PROCESSING\r',
      '\n',
      ':\n',
      '',
      '',
      'data: a\n: held\n\n',
      '',
    ])
    expect(filtered(['\n', '{"x":', '"x"'])).toEqual(['\n', '{"x":', '"x"', ''])
  })

  describe('an event that is too large to be left out', () => {
    const head = 'data: '
    const sized = (bytes: number) => head + 'x'.repeat(bytes - head.length)

    test('an event above the limit neither waits nor is left out', () => {
      const filter = hidesX()
      const large = sized(70_000)
      expect(filter.push(Buffer.from(large)).toString()).toBe(large)
      // The end looks like an event with the marker, and the line ends are cut in two.
      expect(filter.push(Buffer.from('\ndata: x\r')).toString()).toBe('\ndata: x\r')
      expect(filter.push(Buffer.from('\n\r\ndata: x\n\n')).toString()).toBe('\n\r\n')
    })

    test.each([
      [65_536 - 2, ''],
      [65_536 - 1, sized(65_536 - 1)],
    ])('an event with %i bytes and a blank line passes the same, whole or in two', (bytes, passed) => {
      const event = `${sized(bytes)}\n\n`
      const shown = passed === '' ? '' : event
      expect(filtered([event]).join('')).toBe(shown)
      expect(filtered([event.slice(0, 1000), event.slice(1000)]).join('')).toBe(shown)
    })
  })
})

test('the cuts of a stream do not change the filtered bytes', () => {
  const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
  const lines = fc.constantFrom('data: a', 'data: x', 'data', ': x', 'event: x', '')
  const texts = fc.array(fc.tuple(lines, lineEnd), { maxLength: 20 }).map(parts => parts.flat().join(''))
  fc.assert(
    fc.property(texts, fc.array(fc.nat(200), { maxLength: 8 }), (text, cuts) => {
      const ends = [...new Set(cuts.filter(cut => cut < text.length)), text.length].sort((a, b) => a - b)
      const chunks = ends.map((end, index) => text.slice(ends[index - 1] ?? 0, end))
      expect(filtered(chunks).join('')).toBe(filtered([text]).join(''))
    }),
  )
})
