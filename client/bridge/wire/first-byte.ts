/** Whether an answer is a stream or a body is told by its first byte: no event begins as JSON does. */

/** White space, and the bytes of the byte order mark, which come before it. */
export const blanks = new Set([32, 9, 10, 13, 0xef, 0xbb, 0xbf])

/** the first byte of a body */
export const jsonStarts = new Set(Buffer.from('{['))
