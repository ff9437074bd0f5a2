/**
 * Masks the provider's keys in error bodies: some providers repeat the key that they reject. No other bytes of a
 * response are ever changed for that reason.
 */
import { decodeBody, encodingsOf } from '../wire/content-encoding.js'
import { findHeader, type ResponseHead, withoutHeaders } from '../wire/headers.js'
import { SecretMask } from '../wire/secret-mask.js'
import type { ResponseReceiver } from './upstream-call.js'

/** A compressed error body up to this size is looked into; a larger one holds no message for a human. */
const maxEncodedBytes = 1024 * 1024
const maxDecodedBytes = 4 * maxEncodedBytes

/** A receiver that masks, in front of another. */
export interface MaskingReceiver extends ResponseReceiver {
  /** Passes on the bytes that were held back. Has to be called after the call, also after one that failed. */
  flush(): Promise<void>
}

/** Returns a receiver that masks the keys in error bodies, and passes everything else on at once and unchanged. */
export function maskErrors(receiver: ResponseReceiver, keys: readonly string[]): MaskingReceiver {
  const mask = new SecretMask(keys)
  let state: 'passing' | 'masking' | 'holding' = 'passing'
  let head: ResponseHead | undefined
  let chunks: Buffer[] = []
  let bytes = 0

  return {
    head(received) {
      if (keys.length > 0 && received.status >= 400) {
        state = encodingsOf(findHeader(received.headers, 'content-encoding')).length > 0 ? 'holding' : 'masking'
      }
      head = received
      if (state !== 'holding') receiver.head(received)
    },
    chunk(chunk) {
      if (state === 'passing') return receiver.chunk(chunk)
      if (state === 'masking') return passOn(mask.push(Buffer.from(chunk)))
      chunks.push(chunk)
      bytes += chunk.length
      return bytes > maxEncodedBytes ? release() : undefined
    },
    async flush() {
      if (state === 'masking') await passOn(mask.end())
      if (state === 'holding' && head) await passDecoded(head, Buffer.concat(chunks))
    },
  }

  function passOn(passed: Buffer): Promise<void> | undefined {
    return passed.length > 0 ? receiver.chunk(passed) : undefined
  }

  /** Passes on the head and everything that was held, unchanged. */
  function release(): Promise<void> | undefined {
    state = 'passing'
    if (head) receiver.head(head)
    const held = Buffer.concat(chunks)
    chunks = []
    return passOn(held)
  }

  async function passDecoded(head: ResponseHead, body: Buffer): Promise<void> {
    const decoded = await decodeBody(body, encodingsOf(findHeader(head.headers, 'content-encoding')), maxDecodedBytes)
    if (typeof decoded === 'string' || !mask.finds(decoded)) return void (await release())
    state = 'passing'
    const headers = withoutHeaders(head.headers, ['content-encoding', 'content-length'])
    receiver.head({ ...head, headers: [...headers, 'content-length', String(decoded.length)] })
    await passOn(mask.mask(decoded))
  }
}
