import { expect, test } from 'vitest'
import { unmaskedFrames } from '../../../../shared/rpc/links/unmasked-frames.js'
import { fc } from '../../../fixtures/random.js'

/** Reads frames as RFC 6455, section 5.2, describes them. */
function textsOf(frames: Buffer): string[] {
  const texts: string[] = []
  for (let at = 0; at < frames.length; ) {
    expect(frames[at]).toBe(0x81)
    const short = frames[at + 1] ?? 0
    const header = short < 126 ? 2 : short === 126 ? 4 : 10
    const length = short < 126 ? short : short === 126 ? frames.readUInt16BE(at + 2) : frames.readBigUInt64BE(at + 2)
    at += header
    texts.push(frames.toString('utf8', at, at + Number(length)))
    at += Number(length)
  }
  return texts
}

test.each([0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000])('a text of %d bytes is one frame', length => {
  const text = 'x'.repeat(length)
  expect(textsOf(unmaskedFrames([text, 'behind']))).toEqual([text, 'behind'])
})

test('any texts are frames in their order', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 200 })), texts => {
      expect(textsOf(unmaskedFrames(texts))).toEqual(texts)
    }),
  )
})
