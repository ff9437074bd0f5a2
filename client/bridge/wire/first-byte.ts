/** The first byte of a response says whether it is a stream or a body: no event begins as JSON does. */

/** Bytes that may precede the first one that counts: white space and the byte order mark. */
export const blanks = new Set([32, 9, 10, 13, 0xef, 0xbb, 0xbf])

/** The bytes that begin a body. */
export const jsonStarts = new Set(Buffer.from('{['))
