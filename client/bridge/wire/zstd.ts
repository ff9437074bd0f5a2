/** Zstandard (RFC 8878): decoded by Node from 22.15 on, else by the reference decoder in WebAssembly. */
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { ZSTDDecoder } from 'zstddec'

/** The decoder of Node; the types here are those of Node 20, which has none. */
const native: unknown = Reflect.get(zlib, 'zstdDecompress')

/**
 * Decompresses the frames of a body. Memory is bounded by `maxBytes`, and not by the claims of the frames.
 * @throws RangeError with the code `ERR_BUFFER_TOO_LARGE` if the content is larger than `maxBytes`; any other error for
 *   bytes that are no such frames
 */
export async function decompressZstd(body: Buffer, maxBytes: number): Promise<Buffer> {
  if (typeof native !== 'function') return decompressInWasm(body, maxBytes)
  const decompress = promisify(native as typeof zlib.gunzip) // a function of the same form, as Node documents it
  return (await Reflect.apply(decompress, undefined, [body, { maxOutputLength: maxBytes }])) as Buffer // as documented
}

/** The memory of WebAssembly ends at some GiB, and grows without ever shrinking. */
const maxWasmBytes = 256 * 1024 * 1024

/** Does the work of {@link decompressZstd} in WebAssembly, within one turn of the event loop. */
export async function decompressInWasm(body: Buffer, maxBytes: number): Promise<Buffer> {
  const bound = contentBound(body, maxBytes)
  const capacity = Math.max(1, Math.min(bound, maxBytes))
  if (body.length > maxWasmBytes || capacity > maxWasmBytes) throw new Error('too large for WebAssembly')
  const decoder = new ZSTDDecoder()
  await decoder.init()
  const content = decoder.decode(body, capacity)
  // The decoder returns no bytes for broken frames, and for a content above the capacity.
  if (content.length > 0 || bound === 0) return Buffer.from(content.buffer, content.byteOffset, content.length)
  throw bound > maxBytes ? tooLarge(maxBytes) : new Error('broken Zstandard frames')
}

const magic = 0xfd2fb528
/** The type of blocks that repeat one byte; blocks of a smaller type hold their content as it is. */
const repeated = 1
const maxBlockBytes = 128 * 1024

/**
 * Returns a bound for the content of all frames, from the headers of frames and blocks, without any decoding.
 * @throws RangeError as {@link decompressZstd} if a header says that the content is larger than `maxBytes`; any other
 *   error for cut frames and other bytes
 */
function contentBound(body: Buffer, maxBytes: number): number {
  let bound = 0
  let certain = 0
  for (let at = 0; at < body.length; ) {
    const id = body.readUInt32LE(at)
    if (id >>> 4 === 0x184d2a5) {
      at += 8 + body.readUInt32LE(at + 4) // a frame that decoders skip
      continue
    }
    if (id !== magic) throw new Error('no Zstandard frame')
    const frame = readFrame(body, at)
    bound += frame.bound
    certain += frame.bound - frame.guessed
    if (certain > maxBytes) throw tooLarge(maxBytes)
    at = frame.end
  }
  return bound
}

interface Frame {
  end: number
  bound: number
  /** the part of the bound that compressed blocks may not reach */
  guessed: number
}

function readFrame(body: Buffer, start: number): Frame {
  const descriptor = body.readUInt8(start + 4)
  const isSingleSegment = (descriptor & 0x20) !== 0
  let at = start + 5 + (isSingleSegment ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] ?? 0)
  const sizeFlag = descriptor >>> 6
  const sizeLength = sizeFlag === 0 ? Number(isSingleSegment) : 2 ** sizeFlag
  const size = sizeLength === 0 ? undefined : contentSize(body, at, sizeLength)
  at += sizeLength
  let bound = 0
  let guessed = 0
  for (let isLast = false; !isLast; ) {
    const header = body.readUIntLE(at, 3)
    isLast = (header & 1) !== 0
    const type = (header >>> 1) & 3
    const length = header >>> 3
    bound += type <= repeated ? length : maxBlockBytes
    if (type > repeated) guessed += maxBlockBytes
    at += 3 + (type === repeated ? 1 : length)
    if (at > body.length) throw new Error('a cut Zstandard frame')
  }
  const end = at + ((descriptor & 4) === 0 ? 0 : 4) // a checksum may follow
  return size === undefined ? { end, bound, guessed } : { end, bound: size, guessed: 0 }
}

function contentSize(body: Buffer, at: number, length: number): number {
  if (length === 8) return body.readUInt32LE(at) + body.readUInt32LE(at + 4) * 2 ** 32
  // Sizes of two bytes begin at 256 (RFC 8878, section 3.1.1.1.4).
  return body.readUIntLE(at, length) + (length === 2 ? 256 : 0)
}

function tooLarge(maxBytes: number): Error {
  const error = new RangeError(`the content is larger than ${maxBytes.toLocaleString('en')} bytes`)
  return Object.assign(error, { code: 'ERR_BUFFER_TOO_LARGE' })
}
