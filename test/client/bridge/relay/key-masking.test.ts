/** The operator's key in any part of a response, in any pieces, reaches nobody; every other byte stays. */
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { maskKeys } from '../../../../client/bridge/relay/key-masking.js'
import type { ResponseHead } from '../../../../client/bridge/wire/headers.js'
import { fc } from '../../../fixtures/random.js'

const key = 'sk-proj-provider-key-0123456789'
const stars = '*'.repeat(key.length)

interface Received {
  head: ResponseHead | undefined
  chunks: Buffer[]
}

/** Sends a response through the mask, whose last chunk is known to be the last one, or not. */
async function pass(head: ResponseHead, chunks: readonly Buffer[], keys: readonly string[] = [key]): Promise<Received> {
  const received = await passOnce(head, chunks, keys, false)
  const { head: sameHead, chunks: sameChunks } = await passOnce(head, chunks, keys, true)
  expect(sameHead).toEqual(received.head)
  // Vitest compares buffers byte by byte, which takes seconds for a large one.
  expect(Buffer.concat(sameChunks).equals(Buffer.concat(received.chunks))).toBe(true)
  return received
}

async function passOnce(
  head: ResponseHead,
  chunks: readonly Buffer[],
  keys: readonly string[],
  announcesEnd: boolean,
): Promise<Received> {
  const received: Received = { head: undefined, chunks: [] }
  let hasEnded = false
  const masking = maskKeys(
    {
      head: head => {
        received.head = head
      },
      chunk(chunk, isLast) {
        expect(hasEnded).toBe(false)
        hasEnded = isLast
        received.chunks.push(chunk)
        return undefined
      },
    },
    keys,
  )
  masking.head(head)
  for (const [index, chunk] of chunks.entries()) await masking.chunk(chunk, announcesEnd && index === chunks.length - 1)
  await masking.flush()
  return received
}

const headOf = (status: number, headers: string[] = []): ResponseHead => ({ status, statusText: 'x', headers })
const textOf = ({ chunks }: Received) => Buffer.concat(chunks).toString()

test.each([
  [200, `{"error":{"message":"bad key ${key}"}}`],
  [200, `data: {"error":"${key}"}\n\n`],
  [200, `data: {"choices":[]}\n\ndata: {"x":"${key}${key}"}\n\n`],
  [302, `<a href="https://x/?k=${key}">`],
  [401, `Incorrect API key: ${key}. And ${key.slice(0, 9)}`],
  [500, key],
])('a key in the body of a %i is masked, and the length stays: %s', async (status, body) => {
  const whole = await pass(headOf(status), [Buffer.from(body)])
  const bytewise = await pass(
    headOf(status),
    [...Buffer.from(body)].map(byte => Buffer.from([byte])),
  )
  for (const received of [whole, bytewise]) expect(textOf(received)).toBe(body.replaceAll(key, stars))
})

test.each([200, 302, 401])('a key in the reason or a header of a %i is masked', async status => {
  const headers = [
    'WWW-Authenticate',
    `Bearer error="${key}"`,
    'location',
    `https://x/?k=${key}&a=1`,
    'x-caf',
    'caf\xe9',
  ]
  const { head } = await pass({ status, statusText: `no ${key}`, headers }, [])
  expect(head).toEqual({
    status,
    statusText: `no ${stars}`,
    headers: [
      'WWW-Authenticate',
      `Bearer error="${stars}"`,
      'location',
      `https://x/?k=${stars}&a=1`,
      'x-caf',
      'caf\xe9',
    ],
  })
})

test('a key is found as JSON and URLs write it', async () => {
  const odd = 'pass/word+"1"=='
  const writings = [odd, JSON.stringify(odd), JSON.stringify(odd).replaceAll('/', '\\/'), encodeURIComponent(odd)]
  for (const written of writings) {
    const text = textOf(await pass(headOf(401), [Buffer.from(`<${written}>`)], [odd]))
    expect(text).toMatch(/^<"?\*+"?>$/)
  }
})

test.each(['ollama', 'none', 'EMPTY', 'lm-studio', 'sk-no-key-required', 'key'])(
  'the key %s, which is a word, stays in the content of a response',
  async word => {
    const body = Buffer.from(`{"content":"${word} is a word"}`)
    expect(textOf(await pass(headOf(200), [body], [word]))).toBe(body.toString())
  },
)

test('bytes without a key pass as they are, for any text and in any pieces', async () => {
  const part = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.integer({ min: 0, max: key.length - 1 }).map(n => key.slice(0, n)),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(part), fc.constantFrom(200, 404), async (parts, status) => {
      const chunks = parts.map(text => Buffer.from(text))
      fc.pre(!Buffer.concat(chunks).includes(key))
      const { chunks: passed } = await pass(headOf(status), chunks)
      expect(Buffer.concat(passed).equals(Buffer.concat(chunks))).toBe(true)
    }),
  )
})

test('a chunk without a key and without its beginning passes as the same buffer', async () => {
  const chunk = Buffer.from('data: {"choices":[]}\n\n')
  expect((await pass(headOf(200), [chunk])).chunks[0]).toBe(chunk)
})

test('the received chunk itself is never changed', async () => {
  const chunk = Buffer.from(`a ${key} b`)
  await pass(headOf(200), [chunk])
  expect(chunk.toString()).toBe(`a ${key} b`)
})

describe.each<[string, (text: string | Buffer) => Buffer]>([
  ['gzip', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
])('an error body in %s', (encoding, encode) => {
  const shown = JSON.stringify({ error: { message: `bad ${key}` } })
  const masked = shown.replace(key, stars)
  const head = (body: Buffer) => headOf(401, ['content-encoding', encoding, 'content-length', String(body.length)])
  /** bytes that do not compress */
  const noise = Buffer.from(Array.from({ length: 1_500_000 }, (_, index) => (index * 2_654_435_761) >>> 24))

  test('an error body with a key is masked and passes decoded', async () => {
    const body = encode(shown)
    const received = await pass(head(body), [body.subarray(0, 9), body.subarray(9)])
    expect([textOf(received), received.head?.headers]).toEqual([masked, ['content-length', String(shown.length)]])
  })

  test('without a key passes as it came', async () => {
    const body = encode('{"error":{"message":"bad"}}')
    const received = await pass(head(body), [body])
    expect(Buffer.concat(received.chunks).equals(body)).toBe(true)
    expect(received.head?.headers).toEqual(head(body).headers)
  })

  test('an error body with a key that is cut short is masked', async () => {
    const body = encode(Buffer.concat([Buffer.from(shown), noise.subarray(0, 400_000)]))
    const received = await pass(head(body), [body.subarray(0, body.length - 20)])
    expect(textOf(received).slice(0, masked.length)).toBe(masked)
  })

  test('an error body with a key that is larger than the bound is masked, and its beginning passes', async () => {
    const random = crypto.getRandomValues.bind(crypto)
    for (let at = 0; at < noise.length; at += 65_536) random(noise.subarray(at, at + 65_536))
    const body = encode(Buffer.concat([Buffer.from(shown), noise]))
    expect(body.length).toBeGreaterThan(1024 * 1024)
    const chunks = Array.from({ length: Math.ceil(body.length / 65_536) }, (_, index) =>
      body.subarray(index * 65_536, (index + 1) * 65_536),
    )
    const received = await pass(head(body), chunks)
    expect(textOf(received).slice(0, masked.length)).toBe(masked)
    expect(received.head?.headers).toEqual([])
  })

  test('an error body that is plain, in spite of its label, is masked', async () => {
    expect(textOf(await pass(head(Buffer.from(shown)), [Buffer.from(shown)]))).toBe(masked)
  })

  test('in an unknown encoding besides is masked where the key stands as text', async () => {
    const odd = headOf(401, ['content-encoding', `${encoding}, compress`])
    expect(textOf(await pass(odd, [Buffer.from(shown)]))).toBe(masked)
  })
})
