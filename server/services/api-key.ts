import { createHash, randomInt, timingSafeEqual } from 'node:crypto'

/** An API key is `<id>-<secret>`: the id names the row, and only a hash of the secret is stored. */
export interface ApiKeyParts {
  /** 10 characters of `[A-Za-z0-9]`; may be shown */
  id: string
  /** 22 characters of `[A-Za-z0-9]`: 131 bits */
  secret: string
}

/** Returns the parts of a whole key; undefined for malformed text. */
export function parseApiKey(key: string): ApiKeyParts | undefined {
  const [, id, secret] = /^([A-Za-z0-9]{10})-([A-Za-z0-9]{22})$/.exec(key) ?? []
  return id !== undefined && secret !== undefined ? { id, secret } : undefined
}

/** Creates a key; every possible key is equally likely. */
export function generateApiKey(): ApiKeyParts {
  return { id: randomText(10), secret: randomText(22) }
}

/** Hashes a secret for the store. Secrets are random and long, so a fast hash is enough: no dictionary has them. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** Compares hashes, which have one length: the time is the same for every secret. */
export function isSecretOf(secretHash: Uint8Array, secret: string): boolean {
  const given = hashSecret(secret)
  return given.length === secretHash.length && timingSafeEqual(given, secretHash)
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

function randomText(length: number): string {
  // randomInt has no modulo bias (nodejs.org/api/crypto.html#cryptorandomintmin-max-callback).
  return Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length))).join('')
}
