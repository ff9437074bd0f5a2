import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EventFilter } from '../../client/bridge/event-filter.js'

const hidesX = () => new EventFilter(({ data }) => data.includes('x'))

function filtered(chunks: readonly (string | Buffer)[]): string[] {
  const filter = hidesX()
  return [...chunks.map(chunk => filter.push(Buffer.from(chunk)).toString()), filter.end().toString()]
}

describe('events are left out, and every other byte passes', () => {
  test.each([
    ['data: a\n\ndata: x\n\ndata: b\n\n', 'data: a\n\ndata: b\n\n'],
    ['data: a\r\n\r\ndata: x\r\n\r\ndata: b\r\n\r\n', 'data: a\r\n\r\ndata: b\r\n\r\n'],
    ['data: a\r\rdata: x\r\rdata: b\r\r', 'data: a\r\rdata: b\r\r'],
    ['data: x\n\n\n\ndata: b', '\n\ndata: b'],
    [': comment\ndata: x\nid: 1\n\n: another\n\n', ': another\n\n'],
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

  test('an event that is too large to be one of ours is not waited for', () => {
    const filter = hidesX()
    const large = `data: ${'x'.repeat(70_000)}`
    expect(filter.push(Buffer.from(large)).toString()).toBe(large)
    expect(filter.push(Buffer.from('xx\n\ndata: x\n\n')).toString()).toBe('xx\n\n')
  })
})

test('wherever the stream is cut, the same comes out', () => {
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
