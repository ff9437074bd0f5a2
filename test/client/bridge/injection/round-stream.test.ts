import { expect, test } from 'vitest'
import { type RoundPart, RoundStream, withData } from '../../../../client/bridge/injection/round-stream.js'
import { SseReader } from '../../../../client/bridge/wire/sse.js'
import { fc } from '../../../fixtures/random.js'

function partsOf(stream: RoundStream, chunks: readonly (string | Buffer)[]): RoundPart[] {
  return [...chunks.flatMap(chunk => stream.push(Buffer.from(chunk))), ...stream.end()]
}
const textOf = (parts: readonly RoundPart[]) => Buffer.concat(parts.map(part => part.bytes)).toString()
const eventsIn = (parts: readonly RoundPart[]) =>
  parts.flatMap(part => (part.data === undefined ? [] : [{ event: part.name, data: part.data }]))

const line = fc.constantFrom(
  'data: {"a":1}',
  'data:x',
  'event: e',
  ': comment',
  'id: 1',
  'data',
  'error: no',
  '',
  '',
  'é',
)
const streams = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\n', '\r\n', '\r')), { minLength: 1, maxLength: 20 })
  .map(lines => `: begins\n${lines.flat().join('')}`)

test('the events are those of the reader, and their bytes the stream, at any cuts', () => {
  fc.assert(
    fc.property(streams, fc.array(fc.nat(200), { maxLength: 20 }), (text, places) => {
      const bytes = Buffer.from(text)
      const cuts = [0, ...places.filter(place => place < bytes.length).toSorted((a, b) => a - b), bytes.length]
      const chunks = cuts.slice(1).map((cut, index) => bytes.subarray(cuts[index], cut))
      const parts = partsOf(new RoundStream(), chunks)
      const expected: object[] = []
      const reader = new SseReader(event => expected.push(event), 1000)
      reader.push(bytes)
      reader.end()
      expect(eventsIn(parts)).toEqual(expected)
      expect([text, `${text}\n\n`]).toContain(textOf(parts))
    }),
  )
})

test('comments and events are returned as soon as they are whole', () => {
  const stream = new RoundStream()
  expect(stream.push(Buffer.from('\n'))).toEqual([])
  expect(stream.kind).toBeUndefined()
  expect(textOf(stream.push(Buffer.from(': ping\nda')))).toBe('\n: ping\n')
  expect(textOf(stream.push(Buffer.from('ta: 1\n')))).toBe('')
  expect(textOf(stream.push(Buffer.from('\n')))).toBe('data: 1\n\n')
})

test('an event that a stream ends in has got its blank line, and says so', () => {
  const [part] = partsOf(new RoundStream(), ['data: {"a"'])
  expect(part).toMatchObject({ bytes: Buffer.from('data: {"a"\n\n'), json: undefined, isCut: true })
})

test('a body stays whole, without a byte order mark', () => {
  const stream = new RoundStream()
  expect(partsOf(stream, ['\uFEFF ', '{"a":', '1}\n\n'])).toEqual([])
  expect(stream.kind).toBe('body')
  expect(stream.body().toString()).toBe(' {"a":1}\n\n')
})

test.each(['data: ', '{'])('bytes above the limit behind %j are counted, not kept', start => {
  const stream = new RoundStream(100)
  expect(partsOf(stream, [start, 'x'.repeat(100), 'x'.repeat(100), '\n\ndata: 1\n\n'])).toEqual([])
  expect(stream.isTooLarge).toBe(true)
  expect(stream.body()).toHaveLength(0)
})

test.each([
  ['event: e\r\nid: 7\r\ndata:  {"a":1} \r\n\r\n', 'event: e\r\nid: 7\r\ndata: [2]\r\n\r\n'],
  ['\uFEFFdata:1\n\n', '\uFEFFdata:[2]\n\n'],
  ['data\n\n', 'data: [2]\n\n'],
  ['event: e\ndata: {"a":\ndata: 1}\n\n', 'event: e\ndata: [2]\n\n'],
])('other data stands in the same event: %j', (text, expected) => {
  const [part] = partsOf(new RoundStream(), [text])
  if (part?.data === undefined) throw new Error('no event')
  expect(withData(part, [Buffer.from('[2]')]).toString()).toBe(expected)
})
