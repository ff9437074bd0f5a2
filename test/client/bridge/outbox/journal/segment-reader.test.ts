import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import {
  type Entry,
  frameBytes,
  mark,
  maxKeyBytes,
  maxSlotBytes,
  type PutEntry,
  writeFrame,
} from '../../../../../client/bridge/outbox/journal/frame.js'
import { type Part, partsOf } from '../../../../../client/bridge/outbox/journal/segment-reader.js'
import { fc } from '../../../../fixtures/random.js'

const segment = 1_764_000_000_123

function put(key: string, payload: string | Buffer = `payload of ${key}`): PutEntry {
  return { key, slot: 'slot', payload, replaces: false }
}

function frame(entries: readonly Entry[], number = segment): Buffer {
  const bytes = Buffer.alloc(frameBytes(entries))
  expect(writeFrame(bytes, 0, number, entries)).toBe(bytes.length)
  return bytes
}

/** What was read, in short: `key=payload`, `-key` for a removal, or the damage with its bytes. */
function read(bytes: Buffer): string[] {
  return [...partsOf(bytes, segment)].flatMap(part =>
    part.damage
      ? [`${part.damage} ${part.at}-${part.end}`]
      : part.frame.entries.map(({ key, ...entry }) =>
          entry.slot === undefined ? `-${key}` : `${key}=${entry.payload}${entry.replaces ? '!' : ''}`,
        ),
  )
}

const [first, second, third] = [frame([put('a')]), frame([put('b', 'ä\0"')]), frame([put('c')])]

test('entries are read as they were written, whatever text and bytes they hold', () => {
  const text = fc.string({ unit: fc.constantFrom('a', '"', '\0', 'ü', '€', '😀'), maxLength: 12 })
  const payload = fc.oneof(text, fc.uint8Array({ maxLength: 12 }).map(Buffer.from))
  const removal: fc.Arbitrary<Entry> = fc.record({ key: text })
  const replaces = fc.boolean()
  const entry = fc.oneof(removal, fc.record({ key: text, slot: text, payload, replaces }))
  const property = fc.property(fc.array(fc.array(entry, { maxLength: 3 }), { maxLength: 5 }), frames => {
    const bytes = Buffer.concat(frames.map(entries => frame(entries)))
    const parts = [...partsOf(bytes, segment)].map(part => part.frame?.entries.map(inHex))
    expect(parts).toEqual(frames.map(entries => entries.map(inHex)))
  })
  fc.assert(property, { numRuns: 50 })
})

function inHex(entry: Entry): object {
  return entry.slot === undefined ? entry : { ...entry, payload: Buffer.from(entry.payload).toString('hex') }
}

test('the longest key and slot fit', () => {
  const longest = { ...put('k'.repeat(maxKeyBytes)), slot: 's'.repeat(maxSlotBytes) }
  expect([...partsOf(frame([longest]), segment)][0]?.frame?.entries).toEqual([
    { ...longest, payload: expect.anything() },
  ])
})

test('a segment that ends within a frame is torn there, at every byte', () => {
  const whole = Buffer.concat([first, second])
  for (let length = first.length + 1; length < whole.length; length++) {
    expect(read(whole.subarray(0, length))).toEqual(['a=payload of a', `torn ${first.length}-${length}`])
  }
})

test('a frame whose last bytes are zeros, or zeros alone, are torn: a power cut leaves them', () => {
  for (let kept = 0; kept < second.length - 1; kept++) {
    const zeros = Buffer.alloc(second.length - kept + 5_000)
    const bytes = Buffer.concat([first, second.subarray(0, kept), zeros])
    expect(read(bytes)).toEqual(['a=payload of a', `torn ${first.length}-${bytes.length}`])
  }
})

test('a frame with any flipped bit is corrupt, and the next one is read', () => {
  const whole = Buffer.concat([first, second, third])
  for (let at = first.length; at < first.length + second.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const bytes = Buffer.from(whole)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
      const damage = `corrupt ${first.length}-${first.length + second.length}`
      expect(read(bytes)).toEqual(['a=payload of a', damage, 'c=payload of c'])
    }
  }
})

describe('the last frame of a segment with a flipped bit is corrupt', () => {
  const torn = Array.from({ length: third.length }, (_, length) => third.subarray(0, length))
  const zeros = [1, 7, 5_000].map(length => Buffer.alloc(length))
  const rows: [name: string, rests: Buffer[]][] = [
    ['at the end of the file', [Buffer.alloc(0)]],
    ['before a torn frame', torn],
    ['before zeros', zeros],
    ['before a torn frame and zeros', torn.map(bytes => Buffer.concat([bytes, Buffer.alloc(100)]))],
  ]

  test.each(rows)('%s', (_name, rests) => {
    for (let at = 0; at < second.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(second)
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit)
        for (const rest of rests.filter((_, index) => (index + at + bit) % 8 === 0 || rests.length < 8)) {
          const bytes = Buffer.concat([first, flipped, rest])
          expect(read(bytes)).toEqual(['a=payload of a', `corrupt ${first.length}-${bytes.length}`])
        }
      }
    }
  })
})

describe('bytes that no frame of the segment made', () => {
  const rows: [name: string, bytes: Buffer, read: string[]][] = [
    ['an empty file', Buffer.alloc(0), []],
    ['text', Buffer.from('text'), ['corrupt 0-4']],
    ['a frame of another segment', frame([put('x')], segment - 1), [`foreign 0-${first.length}`]],
    [
      'a frame of another segment before one of this',
      Buffer.concat([frame([put('x')], 7), third]),
      [`foreign 0-${first.length}`, 'c=payload of c'],
    ],
    [
      'marks before a frame',
      Buffer.concat([mark, mark, mark.subarray(0, 3), third]),
      ['corrupt 0-11', 'c=payload of c'],
    ],
    ['zeros before a frame', Buffer.concat([Buffer.alloc(100), third]), ['corrupt 0-100', 'c=payload of c']],
    [
      'the rest of a frame before a frame',
      Buffer.concat([first.subarray(9), third]),
      [`corrupt 0-${first.length - 9}`, 'c=payload of c'],
    ],
    [
      'text behind a frame',
      Buffer.concat([third, Buffer.from('text')]),
      ['c=payload of c', `corrupt ${third.length}-${third.length + 4}`],
    ],
  ]

  test.each(rows)('%s', (_name, bytes, expected) => {
    expect(read(bytes)).toEqual(expected)
  })

  test('any bytes are read to their end, without a gap', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map(Buffer.from),
      fc.constantFrom(first, second, mark, mark.subarray(2), frame([put('x')], 7)),
    )
    const property = fc.property(fc.array(piece, { maxLength: 8 }), pieces => {
      const bytes = Buffer.concat(pieces)
      const ends = [...partsOf(bytes, segment)].map((part: Part) => [
        part.at,
        part.damage ? part.end : part.at + part.frame.length,
      ])
      expect(ends.map(([at]) => at)).toEqual([0, ...ends.map(([, end]) => end)].slice(0, ends.length))
      expect(ends.at(-1)?.[1] ?? 0).toBe(bytes.length)
    })
    fc.assert(property, { numRuns: 100 })
  })
})

test('an entry of an unknown kind makes its frame corrupt, as a later version may write it', () => {
  const bytes = frame([put('a')])
  const body = bytes.subarray(18)
  body[0] = 3
  const rewritten = Buffer.concat([bytes.subarray(0, 14), Buffer.alloc(4), body])
  rewritten.writeUInt32BE(crc(rewritten), 14)
  expect(read(Buffer.concat([rewritten, third]))).toEqual([`corrupt 0-${bytes.length}`, 'c=payload of c'])
})

function crc(bytes: Buffer): number {
  return crc32(bytes.subarray(18), crc32(bytes.subarray(4, 14)))
}
