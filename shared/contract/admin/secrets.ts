/** The rotation of the key that seals secrets. */

/** The outcome of a rotation of secrets. */
export interface RotationResult {
  /** sealed anew under the first key */
  rotated: number
  /** were under the first key already */
  kept: number
  /** no key of the server opens these secrets, which stay unchanged */
  unreadable: number
  /**
   * - `removed`: the server's key is its own; the server made a new key and forgot the old one
   * - `kept`: the same, but the old key stays because of unreadable secrets
   * - `configured`: the keys come with the configuration; the old key may be removed there once every server has both,
   *   and no secret is unreadable
   * - `none`: the configuration has one key, so no other key to change to exists
   */
  oldKey: 'removed' | 'kept' | 'configured' | 'none'
}
