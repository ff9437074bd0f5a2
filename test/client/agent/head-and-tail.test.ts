import { describe, expect, test } from 'vitest'
import { HeadAndTail, type HeadAndTailLimits, type KeptOutput } from '../../../client/agent/head-and-tail.js'
import { processLimits } from '../../../shared/contract/limits.js'
import { fc } from '../../fixtures/random.js'

const small: HeadAndTailLimits = { headBytes: 16, tailBytes: 12, maxLineBytes: 10 }

/** What is kept of an output that is written in these chunks. */
function keep(chunks: readonly (string | Uint8Array)[], limits: HeadAndTailLimits = small, isWhole = true): KeptOutput {
  const kept = new HeadAndTail(limits)
  for (const chunk of chunks) kept.write(Buffer.from(chunk as string)) // either type has a Buffer
  return kept.read({ isWhole })
}

type Counts = [originalBytes: number, retainedBytes: number, cutLines: number]

describe('head and tail', () => {
  test.each<[name: string, written: string, output: string, counts?: Counts]>([
    ['no output', '', ''],
    ['a line', 'hello\n', 'hello\n'],
    ['a line without an end', 'hello', 'hello'],
    ['an output of exactly head and tail', `${'aaaaaaa\n'.repeat(3)}bbb\n`, `${'aaaaaaa\n'.repeat(3)}bbb\n`],
    [
      'one byte more',
      `${'aaaaaaa\n'.repeat(3)}bbbb\n`,
      'aaaaaaa\naaaaaaa\n[… 1 byte left out …]\naaaaaa\nbbbb\n',
      [29, 28, 0],
    ],
    ['a line of the greatest length', '1234567890\n', '1234567890\n'],
    ['one byte more in a line', '1234567890X\n', '1234567890 [… 1 byte of this line left out]\n', [12, 11, 1]],
    ['a long line without an end', '1234567890XYZ', '1234567890 [… 3 bytes of this line left out]', [13, 10, 1]],
    [
      'two long lines',
      '1234567890X\nabc\n1234567890YZ\n',
      '1234567890 [… 1 byte of this line left out]\nabc\n1234567890 [… 2 bytes of this line left out]\n',
      [29, 26, 2],
    ],
    [
      'a character over the cut of a line',
      '12345678äü\n',
      '12345678ä [… 2 bytes of this line left out]\n',
      [13, 11, 1],
    ],
    ['a character in the cut of a line', '123456789ä\n', '123456789 [… 2 bytes of this line left out]\n', [12, 10, 1]],
    [
      'characters in both cuts',
      '1234567\n123456😀\na😀\n12345678\n',
      '1234567\n123456\n[… 10 bytes left out …]\n\n12345678\n',
      [34, 24, 0],
    ],
    [
      'a cut line on the border of a head and a tail that hold all',
      '12345\n1234567890X\n\n1234567890Y',
      '12345\n1234567890 [… 1 byte of this line left out]\n\n1234567890 [… 1 byte of this line left out]',
      [30, 28, 2],
    ],
    [
      'long lines between head and tail',
      `1234567\n1234567\n${'x'.repeat(1_000)}\n${'y'.repeat(1_000)}\n12345\n12345\n`,
      '1234567\n1234567\n[… 2,002 bytes left out …]\n12345\n12345\n',
      [2030, 28, 2],
    ],
    [
      'the cut of a line at the end of the head',
      `12345\n${'x'.repeat(20)}\n12345\n12345\n`,
      '12345\nxxxxxxxxxx\n[… 11 bytes left out …]\n12345\n12345\n',
      [39, 28, 1],
    ],
    [
      'the cut of a line at the beginning of the tail',
      `1234567\n1234567\n${'x'.repeat(20)}\n12345\n1234\n`,
      '1234567\n1234567\n[… 20 bytes left out …]\n\n12345\n1234\n',
      [48, 28, 1],
    ],
  ])('%s', (_name, written, output, counts) => {
    const truncated = counts && {
      originalBytes: counts[0],
      retainedBytes: counts[1],
      omittedBytes: counts[0] - counts[1],
      cutLines: counts[2],
    }
    const expected = truncated ? { output, truncated } : { output }
    expect(keep([written])).toEqual(expected)
    expect(keep(Array.from(Buffer.from(written), byte => Uint8Array.of(byte)))).toEqual(expected)
  })

  test.each<[name: string, written: number[], output: string]>([
    ['a byte that begins no character', [0x61, 0xff, 0x62], 'a\uFFFDb'],
    ['a character that is not whole', [0x61, 0xe2, 0x82], 'a\uFFFD'],
    ['a byte order mark', [0xef, 0xbb, 0xbf, 0x61], '\uFEFFa'],
    ['U+0000', [0x61, 0, 0x62], 'a\0b'],
  ])('%s counts as written', (_name, written, output) => {
    expect(keep([Uint8Array.from(written)])).toEqual({ output })
  })

  test('a character that is not whole yet is left for later', () => {
    const kept = new HeadAndTail(small)
    kept.write(Buffer.from([0x61, 0xe2, 0x82]))
    expect(kept.read({ isWhole: false })).toEqual({ output: 'a' })
    kept.write(Buffer.from([0xac]))
    expect(kept.read({ isWhole: false })).toEqual({ output: 'a€' })
  })

  test('a reused chunk changes nothing', () => {
    const kept = new HeadAndTail(small)
    const chunk = Buffer.from('hello')
    kept.write(chunk)
    chunk.fill('x')
    expect(kept.read({ isWhole: true }).output).toBe('hello')
  })

  test('a text for a reader has less than 34 KiB, whatever was written', () => {
    const { headBytes, tailBytes } = processLimits
    for (const line of [`${'y'.repeat(99)}\n`, `${'x'.repeat(3_000)}\n`, `${'é'.repeat(1_500)}\n`]) {
      const { output, truncated } = keep(Array(4).fill(line.repeat(200)), processLimits)
      expect(Buffer.byteLength(output)).toBeLessThan(headBytes + tailBytes + 2 * 1_024)
      expect(truncated?.retainedBytes).toBeGreaterThan(headBytes + tailBytes - 40)
    }
  })
})

const unfinished = /(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})$/
const count = (bytes: number): string => (bytes === 1 ? '1 byte' : `${bytes.toLocaleString('en')} bytes`)

/**
 * The same rules on the whole output at once. A byte is a character of the text; a cut line is its kept bytes and one
 * private character that stands for the mark.
 */
function model(written: Buffer, { headBytes, tailBytes, maxLineBytes }: HeadAndTailLimits): KeptOutput {
  const text = written.toString('latin1')
  const gaps: number[] = []
  let kept = ''
  for (const [index, line] of text.split('\n').entries()) {
    if (index > 0) kept += '\n'
    kept += line.slice(0, maxLineBytes)
    if (line.length > maxLineBytes) {
      gaps.push(line.length - maxLineBytes)
      kept += '\u{F000}'
    }
  }
  const plain = kept.replaceAll('\u{F000}', '')
  let retainedBytes = 0
  let markedBytes = 0
  let next = 0
  const decode = (part: string): string => {
    retainedBytes += part.length
    return Buffer.from(part, 'latin1').toString('utf8')
  }
  const shown = (part: string): string => {
    const pieces = part.split('\u{F000}')
    return pieces
      .map((piece, index) => {
        if (index === pieces.length - 1) return decode(piece)
        const whole = piece.replace(unfinished, '')
        const omitted = (gaps[next++] ?? 0) + piece.length - whole.length
        markedBytes += omitted
        return `${decode(whole)} [… ${count(omitted)} of this line left out]`
      })
      .join('')
  }
  let output: string
  if (plain.length <= headBytes + tailBytes) output = shown(kept)
  else {
    // The kept bytes with their marks, up to a number of bytes without marks.
    const upTo = (bytes: number): number => {
      let index = 0
      for (let passed = 0; passed < bytes; index++) if (kept[index] !== '\u{F000}') passed++
      return index
    }
    const [headEnd, tailStart] = [upTo(headBytes), upTo(plain.length - tailBytes)]
    const head = shown(kept.slice(0, headEnd).replace(unfinished, ''))
    next += kept.slice(headEnd).split('\u{F000}').length - 1
    next -=
      kept
        .slice(tailStart)
        .replace(/^\u{F000}/u, '')
        .split('\u{F000}').length - 1
    const tail = shown(
      kept
        .slice(tailStart)
        .replace(/^\u{F000}/u, '')
        .replace(/^[\x80-\xbf]{1,3}/, ''),
    )
    const omitted = text.length - retainedBytes - markedBytes
    output = `${head.endsWith('\n') ? head : `${head}\n`}[… ${count(omitted)} left out …]\n${tail}`
  }
  const omittedBytes = text.length - retainedBytes
  if (omittedBytes === 0) return { output }
  return { output, truncated: { originalBytes: text.length, retainedBytes, omittedBytes, cutLines: gaps.length } }
}

/** Bytes in which lines, characters of every length and broken characters are frequent. */
const anyOutput = fc
  .array(
    fc.oneof(
      fc.constantFrom('\n', 'a', 'é', '€', '😀'),
      fc.integer({ min: 1, max: 30 }).map(length => 'x'.repeat(length)),
      fc.integer({ min: 0x80, max: 0xff }).map(byte => Uint8Array.of(byte)),
    ),
    { maxLength: 40 },
  )
  .map(parts => Buffer.concat(parts.map(part => Buffer.from(part as string)))) // either type has a Buffer

test('head and tail follow the model, in any chunks', () => {
  fc.assert(
    fc.property(
      anyOutput,
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
      fc.record({
        headBytes: fc.integer({ min: 4, max: 20 }),
        tailBytes: fc.integer({ min: 4, max: 20 }),
        maxLineBytes: fc.integer({ min: 4, max: 24 }),
      }),
      (written, sizes, limits) => {
        const chunks: Buffer[] = []
        for (let at = 0, n = 0; at < written.length; n++) {
          const size = sizes[n % sizes.length] ?? 1
          chunks.push(written.subarray(at, at + size))
          at += size
        }
        expect(keep(chunks, limits)).toEqual(model(written, limits))
      },
    ),
    { numRuns: process.env.SOAK ? 100_000 : 300 },
  )
}, 600_000)

test('a cut makes no broken character of a valid text', () => {
  const valid = fc.array(fc.constantFrom('a', 'é', '€', '😀', '\n', 'xxxxxxx'), { maxLength: 60 }).map(p => p.join(''))
  fc.assert(
    fc.property(valid, text => {
      expect(keep([text]).output).not.toContain('\uFFFD')
      for (let at = 0; at <= 6; at++)
        expect(keep([Buffer.from(text).subarray(0, at)], small, false).output).not.toContain('\uFFFD')
    }),
    { numRuns: 200 },
  )
})
