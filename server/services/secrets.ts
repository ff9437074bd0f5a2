import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto'

/** Seals the secrets that the store holds. */
export interface SecretBox {
  /**
   * Encrypts under the first key. The sealed secret goes to the store at once: a rotation waits for secrets on their
   * way to the store, and for nothing else.
   * @param place the secret's row; opening needs the same place, so a sealed secret cannot be moved to another row
   */
  seal(secret: string, place: SecretPlace): Uint8Array
  /**
   * Opens a secret that any of the keys sealed.
   * @throws SecretUnreadable if the text is no sealed secret, was sealed by another key or for another place, or was
   *   changed
   */
  open(sealed: Uint8Array, place: SecretPlace): string
  /** Returns whether the first key sealed the secret, by the fingerprint in the secret. */
  isCurrent(sealed: Uint8Array): boolean
  /**
   * Returns 32 bytes that depend on the first key and the purpose only, and do not disclose the key (HMAC-SHA256).
   */
  derive(purpose: readonly string[]): Buffer
  /** Returns the secret of {@link derive} for each key, that of the first key first. */
  deriveEach(purpose: readonly string[]): Buffer[]
  readonly keyCount: number
  /**
   * Replaces all keys; the format is that of {@link createSecretBox}.
   * @throws RangeError as there, and the keys stay
   */
  replaceKeys(keys: readonly Uint8Array[]): void
}

/** The kind of a secret and the name of its row; JSON keeps the parts apart. */
export type SecretPlace = readonly [kind: 'provider-key' | 'mcp-server' | 'external-auth-link', ...names: string[]]

/** The place of a provider's key: the provider's name and the key's id. */
export function providerKeyPlace(provider: string, keyId: string): SecretPlace {
  return ['provider-key', provider, keyId]
}

/** The failure of {@link SecretBox.open}. The message holds nothing of the secret. */
export class SecretUnreadable extends Error {
  override readonly name = 'SecretUnreadable'
}

/*
 * A sealed secret: version (1 byte, 1), fingerprint of the key (8), nonce (12), ciphertext, tag (16).
 * The nonce is random: NIST SP 800-38D, section 8.3, allows 2^32 of them under one key.
 */
const version = 1
const fingerprintLength = 8
const nonceLength = 12
const tagLength = 16
const headerLength = 1 + fingerprintLength + nonceLength

interface Key {
  bytes: Uint8Array
  fingerprint: Buffer
}

/**
 * AES-256-GCM under one or more keys: the first seals, all open, so that a key can be replaced while both are in use.
 * @param keys 32 bytes each
 * @throws RangeError for an empty list, or a key of another length
 */
export function createSecretBox(keys: readonly Uint8Array[]): SecretBox {
  let { known, sealing } = toKeys(keys)
  const derived = ({ bytes }: Key, purpose: readonly string[]) =>
    createHmac('sha256', bytes)
      .update(JSON.stringify(['aibridge derived secret', ...purpose]))
      .digest()
  return {
    get keyCount() {
      return known.length
    },
    replaceKeys(replacement) {
      ;({ known, sealing } = toKeys(replacement))
    },
    derive: purpose => derived(sealing, purpose),
    deriveEach: purpose => known.map(key => derived(key, purpose)),
    isCurrent(sealed) {
      return sealed[0] === version && sealing.fingerprint.equals(sealed.subarray(1, 1 + fingerprintLength))
    },
    seal(secret, place) {
      const nonce = randomBytes(nonceLength)
      const header = Buffer.concat([Buffer.of(version), sealing.fingerprint, nonce])
      const cipher = createCipheriv('aes-256-gcm', sealing.bytes, nonce, { authTagLength: tagLength })
      cipher.setAAD(authenticated(header, place))
      return Buffer.concat([header, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()])
    },
    open(sealed, place) {
      if (sealed.length < headerLength + tagLength || sealed[0] !== version) {
        throw new SecretUnreadable(`not a secret sealed in version ${version}`)
      }
      const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length)
      const header = bytes.subarray(0, headerLength)
      const fingerprint = header.subarray(1, 1 + fingerprintLength)
      const key = known.find(candidate => candidate.fingerprint.equals(fingerprint))
      if (!key) throw new SecretUnreadable(`sealed by the key ${fingerprint.toString('hex')}, which is not configured`)
      const nonce = header.subarray(1 + fingerprintLength)
      const decipher = createDecipheriv('aes-256-gcm', key.bytes, nonce, { authTagLength: tagLength })
      decipher.setAAD(authenticated(header, place))
      decipher.setAuthTag(bytes.subarray(-tagLength))
      try {
        const secret = decipher.update(bytes.subarray(headerLength, -tagLength))
        return Buffer.concat([secret, decipher.final()]).toString('utf8')
      } catch (cause) {
        throw new SecretUnreadable('changed, or sealed for another place', { cause })
      }
    },
  }
}

function toKeys(keys: readonly Uint8Array[]): { known: Key[]; sealing: Key } {
  const known = keys.map(toKey)
  const [sealing] = known
  if (!sealing) throw new RangeError('a secret box needs a key')
  return { known, sealing }
}

function toKey(bytes: Uint8Array): Key {
  if (bytes.length !== 32) throw new RangeError(`an encryption key has 32 bytes, not ${bytes.length}`)
  const fingerprint = createHash('sha256').update('aibridge key fingerprint\0').update(bytes).digest()
  return { bytes, fingerprint: fingerprint.subarray(0, fingerprintLength) }
}

/** The header too, so that a version can never be passed off as another. */
function authenticated(header: Uint8Array, place: SecretPlace): Buffer {
  return Buffer.concat([header, Buffer.from(JSON.stringify(place))])
}
