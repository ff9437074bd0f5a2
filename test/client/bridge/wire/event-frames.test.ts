import { describe, expect, test } from 'vitest'
import { type EventFrame, EventFrames } from '../../../../client/bridge/wire/event-frames.js'
import { type SseEvent, SseReader } from '../../../../client/bridge/wire/sse.js'
import { fc } from '../../../fixtures/random.js'

const maxBytes = 1000

function framesOf(chunks: readonly (string | Buffer)[]): EventFrame[] {
  const frames = new EventFrames(maxBytes)
  return [...chunks.flatMap(chunk => frames.push(Buffer.from(chunk))), ...frames.end()]
}

const shown = (frames: readonly EventFrame[]) => frames.map(({ bytes, event }) => [bytes.toString(), event?.data])

describe('frames are events and comments with their bytes', () => {
  test.each<[string, [string, string | undefined][]]>([
    [
      'data: a\n\ndata: b\n\n',
      [
        ['data: a\n\n', 'a'],
        ['data: b\n\n', 'b'],
      ],
    ],
    [
      'data: a\r\n\r\ndata: b\r\r',
      [
        ['data: a\r\n\r\n', 'a'],
        ['data: b\r\r', 'b'],
      ],
    ],
    [
      ': ping\ndata: a\n: inside\n\n',
      [
        [': ping\n', undefined],
        ['data: a\n: inside\n\n', 'a'],
      ],
    ],
    [
      'event: x\ndata: a\ndata: b\n\n\n',
      [
        ['event: x\ndata: a\ndata: b\n\n', 'a\nb'],
        ['\n', undefined],
      ],
    ],
    [
      'id: 1\n\ndata: a',
      [
        ['id: 1\n\n', undefined],
        ['data: a', 'a'],
      ],
    ],
    ['', []],
  ])('%j', (text, expected) => {
    expect(shown(framesOf([text]))).toEqual(expected)
  })

  test('a comment does not wait for the next event', () => {
    expect(shown(new EventFrames(maxBytes).push(Buffer.from(': ping\n')))).toEqual([[': ping\n', undefined]])
  })

  test('an event above the limit neither waits nor is read, and the next one is read', () => {
    const frames = new EventFrames(maxBytes)
    const large = `data: ${'x'.repeat(maxBytes)}`
    expect(shown(frames.push(Buffer.from(large)))).toEqual([[large, undefined]])
    expect(shown(frames.push(Buffer.from('yz')))).toEqual([['yz', undefined]])
    expect(shown(frames.push(Buffer.from('\n\ndata: a\n\n')))).toEqual([
      ['\n\n', undefined],
      ['data: a\n\n', 'a'],
    ])
  })
})

const line = fc.constantFrom('data: a', 'data:é🎉', 'event: x', ': c', '', 'error: e', 'id: 1')
const lineEnd = fc.constantFrom('\n', '\r\n', '\r')

test('cuts change neither the bytes nor the events', () => {
  const stream = fc
    .array(fc.tuple(line, lineEnd), { maxLength: 12 })
    .map(lines => lines.map(pair => pair.join('')).join(''))
  fc.assert(
    fc.property(stream, fc.array(fc.nat(80), { maxLength: 6 }), (text, cuts) => {
      const bytes = Buffer.from(text)
      const places = [0, ...cuts.filter(cut => cut <= bytes.length).sort((a, b) => a - b), bytes.length]
      const frames = framesOf(places.slice(1).map((end, index) => bytes.subarray(places[index], end)))
      expect(Buffer.concat(frames.map(frame => frame.bytes))).toEqual(bytes)
      const events: SseEvent[] = []
      const reader = new SseReader(event => events.push(event), maxBytes)
      reader.push(bytes)
      reader.end()
      expect(frames.flatMap(({ event }) => event ?? [])).toEqual(events)
    }),
  )
})
