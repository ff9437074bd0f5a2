import { createHash, randomInt, timingSafeEqual } from 'node:crypto'

/** An API key is `<id>-<secret>`: the id names its row, of the secret only a hash is stored. */
export interface ApiKeyParts {
  /** 10 characters of `[A-Za-z0-9]`; may be shown */
  id: string
  /** 22 characters of `[A-Za-z0-9]`: 131 bits */
  secret: string
}

/** The parts of a whole key; undefined if it is malformed. */
export function parseApiKey(key: string): ApiKeyParts | undefined {
  const [, id, secret] = /^([A-Za-z0-9]{10})-([A-Za-z0-9]{22})$/.exec(key) ?? []
  return id !== undefined && secret !== undefined ? { id, secret } : undefined
}

/** A new key, every one of them equally likely. */
export function generateApiKey(): ApiKeyParts {
  return { id: randomText(10), secret: randomText(22) }
}

/** What is stored of a secret. It is random and long, so a fast hash is enough: there is no dictionary to try. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** Hashes have one length, so the comparison takes the same time whatever the secret. */
export function isSecretOf(secretHash: Uint8Array, secret: string): boolean {
  const given = hashSecret(secret)
  return given.length === secretHash.length && timingSafeEqual(given, secretHash)
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

function randomText(length: number): string {
  // randomInt has no modulo bias (nodejs.org/api/crypto.html#cryptorandomintmin-max-callback).
  return Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length))).join('')
}
