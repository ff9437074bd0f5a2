/** The authorizer: whose key is this. */
import { z } from 'zod'

/**
 * Either `key`, a whole API key, or `keyId` (the delegated path: everything is checked but the secret). Any text is taken: one that is
 * malformed or too long is an `invalid_key` like any other, and is never stored.
 */
export const isAuthorizedInput = z.object({ key: z.string().optional(), keyId: z.string().optional() })
export type IsAuthorizedInput = z.input<typeof isAuthorizedInput>

/** The owner of a key that is authorized. */
export interface Authorization {
  /** user id, a UUID */
  ownerId: string
  apiKeyId: string
  username: string
}
