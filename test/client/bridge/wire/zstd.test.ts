import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decompressInWasm, decompressZstd } from '../../../../client/bridge/wire/zstd.js'

/** The content of the frames below, which the command zstd 1.5 has made. */
const content = JSON.stringify({ model: 'gpt-x', input: [{ role: 'user', content: 'count the letters, '.repeat(40) }] })
  .replaceAll('":', '": ')
  .replaceAll(',"', ', "')
const frames: readonly (readonly [string, Buffer])[] = [
  [
    'with its size and a checksum',
    Buffer.from(
      'KLUv/WQ2AkUCABKFDxGg7ZCzGnzRG0dBzYF5CVVcA5XUG0R4ds/ySett0pVbfNvZ5soNDk+Ut/hZDp4Oi698Td3gM+xDt/g6xrHTAQCNOKtmFEfNlw0=',
      'base64',
    ),
  ],
  [
    'of a stream',
    Buffer.from(
      'KLUv/QBYZQIAEoUQFqCnOUjFZipE5CvzRXzbqgvxjEmo4hqrWO5A5/4rPcF7TElc8/GOSdzhcyi55it5rIianwwO3OHCcBNwzeUASbAKAQCNOKtmFA==',
      'base64',
    ),
  ],
  [
    'one behind the other',
    Buffer.from(
      'KLUv/QRYRQIA0oQPFbA3B3CYkhgRMaYbitUSjVuhZLIQASUJ3X+mR7xHlcU1H++YxSVGl5RrPpPIK6j56mDhEh/Az+CazQlpeAUBAA3XqBkFnePToSi1L/0EWPUAALhlcnMsIGNvdW50IHRoZSBsZXR0In1dfQEA4U2dYfM64Us=',
      'base64',
    ),
  ],
]

describe.each([
  ['the decoder of this runtime', decompressZstd],
  ['the decoder in WebAssembly', decompressInWasm],
] as const)('%s', (_, decompress) => {
  test.each(frames)('decodes a frame %s', async (_, frame) => {
    expect((await decompress(frame, 10_000)).toString()).toBe(content)
    expect((await decompress(frame, content.length)).toString()).toBe(content)
  })

  test.each(frames)('the decoder stops at the limit in a frame %s', async (_, frame) => {
    await expect(decompress(frame, content.length - 1)).rejects.toMatchObject({ code: 'ERR_BUFFER_TOO_LARGE' })
  })

  test.each(frames)('the decoder rejects every cut of a frame %s', async (_, frame) => {
    for (let length = 1; length < frame.length; length++) {
      const decoded = await decompress(frame.subarray(0, length), 10_000).catch(() => undefined)
      // A cut between two frames leaves whole ones.
      if (decoded) expect([length, content.startsWith(decoded.toString())]).toEqual([length, true])
    }
  })

  test('any change of a frame is decoded within the limit, or rejected', async () => {
    const change = fc.record({
      at: fc.nat(),
      byte: fc.nat(255),
      of: fc.constantFrom(...frames.map(([, frame]) => frame)),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async changes => {
        const bytes = Buffer.from(changes[0]?.of ?? '')
        for (const { at, byte } of changes) bytes[at % bytes.length] = byte
        const decoded = await decompress(bytes, 4_000).catch(() => undefined)
        if (decoded) expect(decoded.length).toBeLessThanOrEqual(4_000)
      }),
    )
  })

  test('a frame that claims a huge window or content costs no memory', async () => {
    const header = (...bytes: number[]) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, ...bytes, 1, 0, 0])
    const claims = [header(0x00, 0xff), header(0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40), header(0xa0, 0xff, 0xff, 0xff, 0xff)]
    const before = process.memoryUsage.rss()
    for (const claim of claims) await decompress(claim, 10_000).catch(() => {})
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 * 1024 * 1024)
  })
})
