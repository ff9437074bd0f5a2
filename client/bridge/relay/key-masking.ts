/**
 * Masks the operator's keys in responses: some providers repeat the key that they reject, in a body, a redirect or a
 * header, and some do so under a 200. No other bytes of a response are ever changed for that reason.
 */
import { decodeBeginning, decodeBody, encodingsOf } from '../wire/content-encoding.js'
import { findHeader, type ResponseHead, withoutHeaders } from '../wire/headers.js'
import { SecretMask, type SecretWriting, writingsOfSecrets } from '../wire/secret-mask.js'
import type { ResponseReceiver } from './upstream-call.js'

/** A compressed error body up to this size is looked into whole; of a larger one only the beginning passes. */
const maxEncodedBytes = 1024 * 1024
const maxDecodedBytes = 4 * maxEncodedBytes

/** A receiver that masks, in front of another. */
export interface MaskingReceiver extends ResponseReceiver {
  /** Passes on the bytes that were held back. Has to be called after the call, also after one that failed. */
  flush(): Promise<void>
}

/**
 * Returns a receiver that masks the keys, and passes everything else on at once and unchanged. A compressed error body
 * is held until its content is known; a compressed body of a success passes as it is.
 */
export function maskKeys(receiver: ResponseReceiver, keys: readonly string[]): MaskingReceiver {
  let mask = new SecretMask([])
  let state: 'masking' | 'holding' | 'dropping' = 'masking'
  let head: ResponseHead | undefined
  let chunks: Buffer[] = []
  let bytes = 0

  return {
    head(received) {
      const isError = received.status >= 300
      const { all, noWords } = writingsOfKeys(keys)
      mask = new SecretMask(isError ? all : noWords)
      head = keys.length > 0 ? maskHead(received, mask) : received
      if (isError && keys.length > 0 && encodingsOfBody(received).length > 0) state = 'holding'
      else receiver.head(head)
    },
    chunk(chunk, isLast) {
      if (state === 'dropping') return undefined
      if (state === 'masking') return passOn(isLast ? joined(mask.push(chunk), mask.end()) : mask.push(chunk), isLast)
      chunks.push(chunk)
      bytes += chunk.length
      return bytes > maxEncodedBytes ? passHeld() : undefined
    },
    async flush() {
      if (state === 'holding') await passHeld()
      if (state === 'masking') await passOn(mask.end())
    },
  }

  function passOn(passed: Buffer, isLast = false): Promise<void> | undefined {
    return passed.length > 0 ? receiver.chunk(passed, isLast) : undefined
  }

  /** Passes on the head and the held bytes: unchanged without a key in it, else its content with the key masked. */
  async function passHeld(): Promise<void> {
    state = 'dropping'
    if (!head) return
    const body = Buffer.concat(chunks)
    chunks = []
    const encodings = encodingsOfBody(head)
    const isWhole = bytes <= maxEncodedBytes
    const decoded = isWhole ? await decodeBody(body, encodings, maxDecodedBytes) : 'too large'
    const content = Buffer.isBuffer(decoded) ? decoded : await decodeBeginning(body, encodings, maxDecodedBytes)
    if (content.length === 0 || (decoded !== 'too large' && !mask.finds(content))) {
      state = 'masking' // the label may be wrong, and the body plain
      receiver.head(head)
      await passOn(mask.push(body))
      return
    }
    const headers = withoutHeaders(head.headers, ['content-encoding', 'content-length'])
    if (content === decoded) headers.push('content-length', String(content.length))
    receiver.head({ ...head, headers })
    await passOn(mask.mask(content))
  }
}

interface Writings {
  all: readonly SecretWriting[]
  noWords: readonly SecretWriting[]
}

/** By the list of a provider's keys, which is the same for all its responses. */
const known = new WeakMap<readonly string[], Writings>()

function writingsOfKeys(keys: readonly string[]): Writings {
  let writings = known.get(keys)
  if (!writings) {
    writings = { all: writingsOfSecrets(keys), noWords: writingsOfSecrets(keys.filter(isNoWord)) }
    known.set(keys, writings)
  }
  return writings
}

function joined(bytes: Buffer, rest: Buffer): Buffer {
  return rest.length === 0 ? bytes : Buffer.concat([bytes, rest])
}

function encodingsOfBody({ headers }: ResponseHead): string[] {
  return encodingsOf(findHeader(headers, 'content-encoding'))
}

function maskHead(head: ResponseHead, mask: SecretMask): ResponseHead {
  const headers = head.headers.map((text, index) => (index % 2 === 0 ? text : mask.maskText(text)))
  return { ...head, statusText: mask.maskText(head.statusText), headers }
}

/** Keys of servers that need none, and of clients that insist on one; some stand behind `sk-`. */
const placeholders = new Set(['lm-studio', 'not-needed', 'not-required', 'no-key-required'])

/** Returns whether a key cannot be meant as a word. Operators give servers that need no key `ollama` or `none`. */
function isNoWord(key: string): boolean {
  return key.length >= 8 && !/^[a-z]+$/i.test(key) && !placeholders.has(key.toLowerCase().replace(/^sk-/, ''))
}
