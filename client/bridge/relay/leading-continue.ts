/**
 * Drops `100 Continue` responses that no request asked for. Some providers and proxies send them; undici closes the
 * connection on one (`bad response`), although RFC 9110, section 15.2, has clients ignore it.
 */
import type { Socket } from 'node:net'

/** State of a socket: whether the next bytes from the provider begin a response. */
type State = 'head' | 'passing'

/** A response head that is longer is left to undici's own limit. */
const maxHeldBytes = 16 * 1024
const statusLine = Buffer.from('HTTP/1.1 100')
const emptyLine = '\r\n\r\n'

/**
 * Makes a socket of undici drop `100 Continue` before a response. There is no pipelining: each request line that is
 * written announces one response, and everything behind its head passes unread.
 */
export function dropLeadingContinue(socket: Socket): void {
  let state: State = 'passing'
  let held: Buffer | undefined
  const read = socket.read.bind(socket)
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean // the sum of its overloads

  // undici writes the head of a request as text, and bodies as bytes.
  socket.write = (chunk: unknown, ...rest: unknown[]): boolean => {
    if (typeof chunk === 'string') state = 'head'
    return write(chunk, ...rest)
  }

  socket.read = (size?: number): Buffer | null => {
    for (;;) {
      const chunk = read(size) as Buffer | null // undici sets no encoding
      if (chunk === null || state === 'passing') return chunk
      const passed = take(held ? Buffer.concat([held, chunk]) : chunk)
      if (passed) return passed
    }
  }

  /** Returns the bytes that pass; undefined if more have to arrive. */
  function take(bytes: Buffer): Buffer | undefined {
    held = undefined
    let rest = bytes
    while (isContinue(rest)) {
      const end = rest.indexOf(emptyLine)
      if (end < 0 && rest.length <= maxHeldBytes) {
        held = rest
        return undefined
      }
      if (end < 0) break
      rest = rest.subarray(end + emptyLine.length)
    }
    if (rest.length === 0) return undefined
    state = 'passing'
    return rest
  }
}

/** Returns whether bytes are, or may become, the status line of a 100; the minor version of HTTP does not count. */
function isContinue(bytes: Buffer): boolean {
  const length = Math.min(bytes.length, statusLine.length)
  for (let index = 0; index < length; index++) {
    if (index !== 7 && bytes[index] !== statusLine[index]) return false
  }
  return length > 0
}
