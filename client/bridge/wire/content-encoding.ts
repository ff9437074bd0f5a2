import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'

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
