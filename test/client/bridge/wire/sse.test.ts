import { expect, test } from 'vitest'
import { type SseEvent, SseReader } from '../../../../client/bridge/wire/sse.js'
import { fc } from '../../../fixtures/random.js'

function read(chunks: Buffer[], maxEventBytes = 1_000_000): SseEvent[] {
  const events: SseEvent[] = []
  const reader = new SseReader(event => events.push(event), maxEventBytes)
  for (const chunk of chunks) reader.push(chunk)
  reader.end()
  return events
}

const whole = (text: string, maxEventBytes?: number) => read([Buffer.from(text)], maxEventBytes)

test.each([
  ['a field', 'event: a\ndata: b\n\n', [{ event: 'a', data: 'b' }]],
  [
    'CRLF',
    'event: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n',
    [
      { event: 'a', data: 'b' },
      { event: '', data: 'c' },
    ],
  ],
  [
    'a lone CR',
    'event: a\rdata: b\r\rdata: c\r\r',
    [
      { event: 'a', data: 'b' },
      { event: '', data: 'c' },
    ],
  ],
  ['a comment', ': hi\ndata: b\n:\n\n', [{ event: '', data: 'b' }]],
  ['several data lines', 'data: a\ndata:\ndata: b\n\n', [{ event: '', data: 'a\n\nb' }]],
  [
    'no space after the colon, and one of two',
    'data:a\n\ndata:  b\n\n',
    [
      { event: '', data: 'a' },
      { event: '', data: ' b' },
    ],
  ],
  ['no colon', 'data\n\n', [{ event: '', data: '' }]],
  ['an event without data', 'event: a\n\ndata: b\n\n', [{ event: '', data: 'b' }]],
  ['unknown fields', 'id: 1\nretry: 5\nx: y\ndata: b\n\n', [{ event: '', data: 'b' }]],
  [
    'no last blank line',
    'data: a\n\ndata: b',
    [
      { event: '', data: 'a' },
      { event: '', data: 'b' },
    ],
  ],
  ['a byte order mark', '\uFEFFdata: a\n\n', [{ event: '', data: 'a' }]],
  ['nothing', '', []],
])('a stream with %s is read', (_, text, events) => {
  expect(whole(text)).toEqual(events)
})

test('the data of an event above the limit is shortened, and the next event is read', () => {
  const long = 'x'.repeat(100_000)
  const text = [
    'event: done',
    `data: {"a": "${long}",`,
    'id: 7',
    `data:"b": [1, "${long}\\"", {"c": "}"}], "usage": {"n": 7}}`,
    '',
    'data: small',
    '',
    '',
  ].join('\n')
  for (const size of [1, 7, 1024, text.length]) {
    const events: SseEvent[] = []
    const reader = new SseReader(event => events.push(event), 20)
    for (let at = 0; at < text.length; at += size) reader.push(Buffer.from(text.slice(at, at + size)))
    const [first, ...rest] = events
    expect(first?.event).toBe('done')
    expect(JSON.parse(first?.data ?? '')).toEqual({ a: '', b: [1, '', { c: '}' }], usage: { n: 7 } })
    expect(rest).toEqual([{ event: '', data: 'small' }])
    expect(reader.oversized).toBe(1)
  }
})

test('a line with the field error is an event error', () => {
  const events: SseEvent[] = []
  const reader = new SseReader(event => events.push(event), 1_000)
  reader.push(Buffer.from('data: 1\n\nerror: {"message":"no"}\n\ndata: 2\n\n'))
  expect(events).toEqual([
    { event: '', data: '1' },
    { event: 'error', data: '{"message":"no"}' },
    { event: '', data: '2' },
  ])
})

test('the cuts between chunks make no difference', () => {
  const piece = fc.constantFrom(
    'data: ',
    'event: ',
    ':',
    'é',
    '🎉',
    '\r',
    '\n',
    '\r\n',
    '\n\n',
    'x',
    ' ',
    '\uFEFF',
    '\0',
    'data: x\n\n',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), fc.array(fc.nat(200)), (pieces, cuts) => {
      const bytes = Buffer.from(pieces.join(''))
      const ends = [...new Set(cuts.map(cut => Math.min(cut, bytes.length)))].sort((a, b) => a - b)
      const chunks = [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end))
      const bytewise = [...bytes].map(byte => Buffer.from([byte]))
      for (const limit of [1_000, 20, 8]) {
        expect(read(chunks, limit)).toEqual(read([bytes], limit))
        expect(read(bytewise, limit)).toEqual(read([bytes], limit))
      }
    }),
  )
})
