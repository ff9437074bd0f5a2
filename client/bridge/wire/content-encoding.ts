import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'

/** undefined: nothing to do, or nothing that can be done. A stream that breaks gives what it held until then. */
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
      // Node has it from 22.15 on; @types/node here is that of 20.
      const create: unknown = Reflect.get(zlib, 'createZstdDecompress')
      return typeof create === 'function' ? (create() as Transform) : undefined // as documented by Node
    }
    default:
      return undefined
  }
}
