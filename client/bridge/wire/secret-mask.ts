/** Masks secrets in a stream of bytes. The length stays, and with it `Content-Length`. */
export class SecretMask {
  readonly #secrets: readonly Buffer[]
  /** bytes that may begin a secret */
  #held: Buffer = Buffer.alloc(0)

  /** @param secrets texts of less than {@link minSecretLength} characters are words, and stay */
  constructor(secrets: readonly string[]) {
    this.#secrets = secrets.filter(({ length }) => length >= minSecretLength).map(secret => Buffer.from(secret))
  }

  /** Returns the bytes that cannot be a part of a secret any more, with the secrets masked. */
  push(chunk: Buffer): Buffer {
    if (this.#secrets.length === 0) return chunk
    const bytes = this.mask(Buffer.concat([this.#held, chunk]))
    const kept = Math.max(...this.#secrets.map(secret => endThatBegins(bytes, secret)))
    this.#held = bytes.subarray(bytes.length - kept)
    return bytes.subarray(0, bytes.length - kept)
  }

  /** Returns the rest. */
  end(): Buffer {
    const rest = this.#held
    this.#held = Buffer.alloc(0)
    return rest
  }

  /** Masks a whole body in place, and returns it. */
  mask(bytes: Buffer): Buffer {
    for (const secret of this.#secrets) {
      for (let at = bytes.indexOf(secret); at >= 0; at = bytes.indexOf(secret, at)) {
        bytes.fill('*', at, at + secret.length)
      }
    }
    return bytes
  }

  /** Returns whether bytes hold a secret. */
  finds(bytes: Buffer): boolean {
    return this.#secrets.some(secret => bytes.includes(secret))
  }
}

/** Masking a shorter text would change words, and hide nothing. */
export const minSecretLength = 4

/** Returns the length of the longest end of `bytes` that begins `secret` without being all of it. */
function endThatBegins(bytes: Buffer, secret: Buffer): number {
  for (let length = Math.min(bytes.length, secret.length - 1); length > 0; length--) {
    if (secret.subarray(0, length).equals(bytes.subarray(bytes.length - length))) return length
  }
  return 0
}
