/**
 * Drops interim responses (1xx) before they reach undici. Some providers and proxies send a `100 Continue` that no
 * request asked for; undici closes the connection on it (`bad response`), although RFC 9110, section 15.2, has clients
 * ignore it. A 101 passes: no client asked to switch protocols, and undici rejects it.
 */
import type { Socket } from 'node:net'

/** A head that is longer is left to undici's own limit. */
const maxHeldBytes = 16 * 1024
const versionAndClass = Buffer.from('HTTP/1.1 1')
const emptyLine = '\r\n\r\n'

/**
 * Makes a socket of undici drop interim responses. There is no pipelining: each head of a request announces one
 * response, and everything behind the beginning of its final head passes unread.
 */
export function dropInterimResponses(socket: Socket): void {
  let state: 'interim' | 'final' = 'final'
  let held: Buffer | undefined
  const read = socket.read.bind(socket)
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean // the sum of its overloads

  // undici writes the head of a request as text, and bodies as bytes.
  socket.write = (chunk: unknown, ...rest: unknown[]): boolean => {
    if (typeof chunk === 'string') state = 'interim'
    return write(chunk, ...rest)
  }

  socket.read = (size?: number): Buffer | null => {
    for (;;) {
      const chunk = read(size) as Buffer | null // undici sets no encoding
      if (chunk === null || state === 'final') return chunk
      const passed = take(held ? Buffer.concat([held, chunk]) : chunk)
      if (passed) return passed
    }
  }

  /** Returns the bytes that pass; undefined if more have to arrive. */
  function take(bytes: Buffer): Buffer | undefined {
    held = undefined
    let rest = bytes
    while (rest.length > 0) {
      const kind = kindOf(rest)
      if (kind === 'final') break
      const end = kind === 'interim' ? rest.indexOf(emptyLine) : -1
      if (end < 0) {
        if (rest.length > maxHeldBytes) break
        held = rest
        return undefined
      }
      rest = rest.subarray(end + emptyLine.length)
    }
    if (rest.length === 0) return undefined
    state = 'final'
    return rest
  }
}

/**
 * Returns the kind of a response by its first bytes; undefined if they are too few. The minor version does not count.
 */
function kindOf(bytes: Buffer): 'interim' | 'final' | undefined {
  const length = Math.min(bytes.length, versionAndClass.length)
  for (let index = 0; index < length; index++) {
    if (index !== 7 && bytes[index] !== versionAndClass[index]) return 'final'
  }
  if (bytes.length < versionAndClass.length + 2) return undefined
  return bytes.toString('latin1', versionAndClass.length, versionAndClass.length + 2) === '01' ? 'final' : 'interim'
}
