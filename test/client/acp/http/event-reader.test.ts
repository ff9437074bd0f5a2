/** Events that arrive in any pieces, and events that break rules. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EventReader } from '../../../../client/acp/http/event-reader.js'
import type { AcpMessage } from '../../../../shared/acp/messages.js'

function read(chunks: readonly Buffer[], maxMessageBytes = 100_000, lastEventId = '') {
  const messages: AcpMessage[] = []
  const reader = new EventReader(message => messages.push(message), maxMessageBytes, lastEventId)
  for (const chunk of chunks) reader.push(chunk)
  return { messages, lastEventId: reader.lastEventId }
}

const messages = [
  { jsonrpc: '2.0', method: 'session/update', params: { sessionId: 's', text: 'grün — 緑 🟢' } },
  { jsonrpc: '2.0', id: 'a', result: null },
  { jsonrpc: '2.0', id: 0, method: 'fs/read_text_file', params: { sessionId: 's', path: '/a\nb' } },
] as const

function streamOf(lineEnd: string, bom: string): Buffer {
  const events = messages.map((message, index) =>
    [`: comment`, `id: ${index + 1}`, `event: message`, `data: ${JSON.stringify(message)}`, '', ''].join(lineEnd),
  )
  return Buffer.from(bom + events.join(''))
}

const lineEnds = [
  ['LF', '\n'],
  ['CRLF', '\r\n'],
  ['CR', '\r'],
] as const

describe.each(lineEnds)('a stream with %s', (_, lineEnd) => {
  test.each(['', '\uFEFF'])('the byte order mark %j and a cut at every byte change nothing', bom => {
    const bytes = streamOf(lineEnd, bom)
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(read([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual({ messages, lastEventId: '3' })
    }
    expect(read(Array.from(bytes, byte => Buffer.of(byte)))).toEqual({ messages, lastEventId: '3' })
  })

  test('a stream that ends at any byte goes on behind its last whole event', () => {
    const bytes = streamOf(lineEnd, '')
    for (let end = 0; end <= bytes.length; end++) {
      const first = read([bytes.subarray(0, end)])
      expect(first.lastEventId).toBe(first.messages.length === 0 ? '' : String(first.messages.length))
    }
  })
})

test('any messages in any pieces arrive whole', () => {
  const params = fc.jsonValue().map(value => ({ value }))
  const message = fc.record({ jsonrpc: fc.constant('2.0'), method: fc.string({ minLength: 1, maxLength: 20 }), params })
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 5 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 50 })),
      (sent, sizes) => {
        const bytes = Buffer.from(sent.map((one, index) => `id:${index}\ndata:${JSON.stringify(one)}\n\n`).join(''))
        const chunks: Buffer[] = []
        for (let start = 0; start < bytes.length; ) {
          const size = sizes.next().value ?? 1
          chunks.push(bytes.subarray(start, start + size))
          start += size
        }
        expect(read(chunks).messages).toEqual(JSON.parse(JSON.stringify(sent)))
      },
    ),
    { numRuns: 60 },
  )
})

test.each([
  ['an event without an id keeps the one before', 'id: 7\ndata: {"jsonrpc":"2.0","method":"a"}\n\n: c\n\n', '7'],
  ['an id without data counts', 'id: 8\n\n', '8'],
  ['an id with a NUL is ignored', 'id: 8\0\n\n', '5'],
  ['an id that no header holds is ignored', 'id: grün\n\n', '5'],
  ['a long id is ignored', `id: ${'9'.repeat(300)}\n\n`, '5'],
  ['no event', ': keepalive\n\n', '5'],
])('%s', (_, text, lastEventId) => {
  expect(read([Buffer.from(text)], 1_000, '5').lastEventId).toBe(lastEventId)
})

describe('a broken event', () => {
  test.each([
    ['that is not JSON', 'data: {\n\n', 'invalid_event'],
    ['that is a batch', 'data: []\n\n', 'invalid_event'],
    ['that is no message', 'data: {"jsonrpc":"1.0"}\n\n', 'invalid_event'],
    ['that is too large', `data: {"jsonrpc":"2.0","method":"${'x'.repeat(3_000)}"}\n\n`, 'message_too_large'],
    ['that is too large in lines', `${'data: 1\n'.repeat(500)}\n`, 'message_too_large'],
  ])('an event %s is rejected', (_, text, reason) => {
    expect(() => read([Buffer.from(text)], 1_000)).toThrow(expect.objectContaining({ reason }))
  })

  test('an endless line is rejected before it is held in memory', () => {
    const reader = new EventReader(() => {}, 1_000, '')
    const push = () => reader.push(Buffer.from(`data: ${'x'.repeat(700)}`))
    push()
    push()
    expect(push).toThrow(expect.objectContaining({ reason: 'message_too_large' }))
  })
})
