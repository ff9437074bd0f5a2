/** A secret in one of its writings. */
export interface SecretWriting {
  readonly bytes: Buffer
  /** the same bytes as a header has them */
  readonly latin1: string
}

/**
 * Returns the writings of secrets: each is also found as it is written in JSON and in a URL. Texts of less than
 * {@link minSecretLength} characters are words, and stay.
 */
export function writingsOfSecrets(secrets: readonly string[]): SecretWriting[] {
  return textsOfSecrets(secrets).map(text => {
    const bytes = Buffer.from(text)
    return { bytes, latin1: bytes.toString('latin1') }
  })
}

/** Returns the same writings as texts, the longest first: a secret that begins another one must not go before it. */
export function textsOfSecrets(secrets: readonly string[]): string[] {
  const long = secrets.filter(({ length }) => length >= minSecretLength)
  return [...new Set(long.flatMap(writingsOf))].toSorted((one, other) => other.length - one.length)
}

const noBytes = Buffer.alloc(0)

/** Masks secrets in a stream of bytes. The length stays, and with it `Content-Length`. */
export class SecretMask {
  readonly #secrets: readonly SecretWriting[]
  /** bytes that may begin a secret */
  #held: Buffer = noBytes

  constructor(secrets: readonly SecretWriting[]) {
    this.#secrets = secrets
  }

  /** Returns the bytes that cannot be a part of a secret any more, with the secrets masked. The chunk itself stays. */
  push(chunk: Buffer): Buffer {
    if (this.#secrets.length === 0) return chunk
    const bytes = this.mask(this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk)
    const kept = Math.max(...this.#secrets.map(secret => endThatBegins(bytes, secret.bytes)))
    this.#held = bytes.subarray(bytes.length - kept)
    return kept === 0 ? bytes : bytes.subarray(0, bytes.length - kept)
  }

  /** Returns the rest. */
  end(): Buffer {
    const rest = this.#held
    this.#held = noBytes
    return rest
  }

  /** Returns bytes with the secrets masked: a copy if there are any. */
  mask(bytes: Buffer): Buffer {
    let masked: Buffer | undefined
    for (const { bytes: secret } of this.#secrets) {
      for (let at = bytes.indexOf(secret); at >= 0; at = bytes.indexOf(secret, at + 1)) {
        masked ??= Buffer.from(bytes)
        masked.fill('*', at, at + secret.length)
      }
    }
    return masked ?? bytes
  }

  /** Returns the text of a header with the secrets masked. */
  maskText(text: string): string {
    if (!this.#secrets.some(({ latin1 }) => text.includes(latin1))) return text
    return this.mask(Buffer.from(text, 'latin1')).toString('latin1') // which keeps any byte
  }

  /** Returns whether bytes hold a secret. */
  finds(bytes: Buffer): boolean {
    return this.#secrets.some(secret => bytes.includes(secret.bytes))
  }
}

/** Masking a shorter text would change words, and hide nothing. */
export const minSecretLength = 4

/** Returns a secret as it may stand in text, in JSON and in a URL. */
function writingsOf(secret: string): string[] {
  const quoted = JSON.stringify(secret).slice(1, -1)
  return [secret, quoted, quoted.replaceAll('/', '\\/'), inUrl(secret)]
}

function inUrl(secret: string): string {
  try {
    return encodeURIComponent(secret)
  } catch {
    return secret // half a surrogate pair cannot stand in a URL
  }
}

/** Returns the length of the longest end of `bytes` that begins `secret` without being all of it. */
function endThatBegins(bytes: Buffer, secret: Buffer): number {
  const [first = 0] = secret
  const from = Math.max(0, bytes.length - secret.length + 1)
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (secret.subarray(0, bytes.length - at).equals(bytes.subarray(at))) return bytes.length - at
  }
  return 0
}
