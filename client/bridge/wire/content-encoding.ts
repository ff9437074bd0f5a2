/** Content encodings (RFC 9110, section 8.4.1): streams that decode responses, and the decoding of a whole body. */
import type { Transform } from 'node:stream'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { decompressZstd } from './zstd.js'

/**
 * Returns a stream that decodes one content encoding; undefined for `identity` and for unknown encodings. A broken
 * stream still delivers everything before the error.
 * @param encoding in lower case
 */
export function decoderOf(encoding: string): Transform | undefined {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return zlib.createGunzip({ finishFlush: zlib.constants.Z_SYNC_FLUSH })
    case 'deflate':
      return zlib.createInflate({ finishFlush: zlib.constants.Z_SYNC_FLUSH })
    case 'br':
      return zlib.createBrotliDecompress({ finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH })
    case 'zstd': {
      // Node has zstd from 22.15 on; the types here are those of Node 20.
      const create: unknown = Reflect.get(zlib, 'createZstdDecompress')
      return typeof create === 'function' ? (create() as Transform) : undefined // as documented by Node
    }
    default:
      return undefined
  }
}

/** Why a body could not be decoded: an unknown or broken encoding, or a content above the limit. */
export type DecodingProblem = 'unreadable' | 'too large'

/** Returns the names of a header `Content-Encoding` in the order in which they were applied, without `identity`. */
export function encodingsOf(header: string | undefined): string[] {
  const names = (header ?? '').split(',').map(name => name.trim().toLowerCase())
  return names.filter(name => name !== '' && name !== 'identity')
}

/** More encodings on one body are a mistake or an attack: each one is another bomb. */
const maxEncodings = 2

/**
 * Decodes a whole body. Never rejects. Memory is bounded by the limit, and not by the claims of the body.
 * @param encodings as {@link encodingsOf} returns them
 */
export async function decodeBody(
  body: Buffer,
  encodings: readonly string[],
  maxBytes: number,
): Promise<Buffer | DecodingProblem> {
  if (encodings.length > maxEncodings) return 'unreadable'
  let decoded = body
  for (const encoding of encodings.toReversed()) {
    const result = await decodeOne(decoded, encoding, maxBytes)
    if (typeof result === 'string') return result
    decoded = result
  }
  return decoded
}

/**
 * Decodes the beginning of a body that is cut, broken or too large: at most `maxBytes`. Never rejects.
 * @param encodings as {@link encodingsOf} returns them
 */
export async function decodeBeginning(body: Buffer, encodings: readonly string[], maxBytes: number): Promise<Buffer> {
  if (encodings.length > maxEncodings) return Buffer.alloc(0)
  let decoded = body
  for (const encoding of encodings.toReversed()) decoded = await beginningOf(decoded, encoding, maxBytes)
  return decoded
}

function beginningOf(body: Buffer, encoding: string, maxBytes: number): Promise<Buffer> {
  const decoder = decoderOf(encoding)
  if (!decoder) return Promise.resolve(Buffer.alloc(0))
  const chunks: Buffer[] = []
  let bytes = 0
  return new Promise(resolve => {
    decoder.on('error', () => {}) // everything before it counts
    decoder.on('close', () => resolve(Buffer.concat(chunks).subarray(0, maxBytes)))
    decoder.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes >= maxBytes) decoder.destroy()
    })
    decoder.end(body)
  })
}

type Decode = (body: Buffer, options: zlib.ZlibOptions) => Promise<Buffer>

const decoders: Readonly<Record<string, Decode>> = {
  gzip: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  'x-gzip': promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  deflate: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate),
  br: promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress) as Decode, // shares maxOutputLength
  zstd: (body, { maxOutputLength = 0 }) => decompressZstd(body, maxOutputLength),
}

async function decodeOne(body: Buffer, encoding: string, maxBytes: number): Promise<Buffer | DecodingProblem> {
  const decode = Object.hasOwn(decoders, encoding) ? decoders[encoding] : undefined
  if (!decode) return 'unreadable'
  try {
    return await decode(body, { maxOutputLength: maxBytes })
  } catch (error) {
    return error instanceof Error && Reflect.get(error, 'code') === 'ERR_BUFFER_TOO_LARGE' ? 'too large' : 'unreadable'
  }
}
