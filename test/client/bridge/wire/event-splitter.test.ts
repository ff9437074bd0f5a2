import { expect, test } from 'vitest'
import { EventSplitter } from '../../../../client/bridge/wire/event-splitter.js'
import { fc } from '../../../fixtures/random.js'

/** Returns the lines of a stream in chunks: the content of each line, null for a blank one, and last an open line. */
function linesOf(chunks: readonly Buffer[]): (string | null)[] {
  const splitter = new EventSplitter()
  const lines: (string | null)[] = []
  const line: Buffer[] = []
  for (const chunk of chunks) {
    let covered = 0
    for (const { type, beginsLine, start, contentEnd, end } of splitter.split(chunk)) {
      expect(start).toBe(covered)
      covered = end
      if (type === 'lineFeed') continue
      expect(beginsLine).toBe(line.length === 0)
      line.push(chunk.subarray(start, contentEnd))
      if (type === 'part') continue
      lines.push(type === 'blank' ? null : Buffer.concat(line).toString())
      line.splice(0)
    }
    expect(covered).toBe(chunk.length)
  }
  return line.length > 0 ? [...lines, Buffer.concat(line).toString()] : lines
}

const rows: [name: string, stream: string, lines: (string | null)[]][] = [
  ['nothing', '', []],
  ['LF', 'data: a\n\ndata: b\n\n', ['data: a', null, 'data: b', null]],
  ['CR', 'data: a\r\rdata: b\r\r', ['data: a', null, 'data: b', null]],
  ['CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', ['data: a', null, 'data: b', null]],
  ['all three in turn', 'a\nb\rc\r\n\n\r\r\n', ['a', 'b', 'c', null, null, null]],
  ['LF before CR', 'a\n\rb', ['a', null, 'b']],
  ['a byte order mark', '\uFEFFdata: a\n\n', ['\uFEFFdata: a', null]],
  ['a byte order mark alone', '\uFEFF\n\n', ['\uFEFF', null]],
  ['comments', ':\n: hi\r\n:\r\r', [':', ': hi', ':', null]],
  ['several data lines', 'data: a\ndata\ndata: b\n\n', ['data: a', 'data', 'data: b', null]],
  ['blank lines first', '\n\r\n\rdata: a', [null, null, null, 'data: a']],
  ['no last line end', 'data: a', ['data: a']],
  ['a CR last', 'data: a\r', ['data: a']],
  ['characters of several bytes', 'data: é🎉\n\u2028\u0085\v\f\n', ['data: é🎉', '\u2028\u0085\v\f']],
]

test.each(rows)(
  'a stream with %s has the same lines uncut, cut in two at every byte, and cut everywhere',
  (_, stream, lines) => {
    const bytes = Buffer.from(stream)
    expect(linesOf([bytes])).toEqual(lines)
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(linesOf([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(lines)
    }
    expect(linesOf(Array.from(bytes, byte => Buffer.of(byte)))).toEqual(lines)
  },
)

test('the lines of a stream, cut anywhere, are those of a split by CRLF, CR or LF', () => {
  const piece = fc.constantFrom('\r', '\n', '\r\n', ':', 'a', 'é', '\uFEFF')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), fc.array(fc.nat(60)), (pieces, cuts) => {
      const text = pieces.join('')
      const bytes = Buffer.from(text)
      const ends = [...new Set([...cuts.filter(cut => cut < bytes.length), bytes.length])].sort((a, b) => a - b)
      const chunks = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
      const lines = text.split(/\r\n|\r|\n/)
      const open = lines.pop()
      expect(linesOf(chunks)).toEqual([...lines.map(line => line || null), ...(open ? [open] : [])])
    }),
  )
})
