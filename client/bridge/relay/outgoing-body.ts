/** The form in which undici takes the body of a request. */
import { Readable } from 'node:stream'

/** A body on its way to a provider. */
export interface OutgoingBody {
  /** bytes of the whole body */
  length: number
  /** null for an empty body */
  content: Buffer | Readable | null
}

/**
 * undici holds a buffer until the response has ended, which may take minutes, and a stream no longer than its last
 * piece. A stream costs some tens of microseconds, and this many bytes less than the connection to the provider.
 */
const maxHeldBytes = 64 * 1024
const pieceBytes = 64 * 1024

/**
 * Returns the pieces of a body as undici takes them.
 * @param onTaken is called when nothing refers to the pieces any more, if that is known before the end of the call
 */
export function outgoingBody(pieces: readonly Buffer[], onTaken: () => void = () => {}): OutgoingBody {
  const length = pieces.reduce((bytes, piece) => bytes + piece.length, 0)
  const [only] = pieces
  if (length === 0) return { length, content: null }
  if (length <= maxHeldBytes) return { length, content: only?.length === length ? only : Buffer.concat(pieces) }
  return { length, content: streamOf(pieces, onTaken) }
}

function streamOf(pieces: readonly Buffer[], onTaken: () => void): Readable {
  let rest = [...pieces]
  return new Readable({
    highWaterMark: pieceBytes,
    read() {
      const [first, ...others] = rest
      if (!first) {
        this.push(null)
        onTaken()
        return
      }
      rest = first.length > pieceBytes ? [first.subarray(pieceBytes), ...others] : others
      // An empty chunk would end the reading without a further call.
      if (first.length === 0) this._read(pieceBytes)
      else this.push(first.subarray(0, pieceBytes))
    },
    destroy(error, done) {
      rest = []
      done(error)
    },
  })
}
