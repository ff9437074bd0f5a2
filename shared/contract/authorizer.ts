/** The authorizer: the owner of a key. */
import { z } from 'zod'

/**
 * Either `key`, a whole API key, or `keyId` (the delegated path: everything is checked but the secret). Any text is
 * accepted: malformed or overlong text is an `invalid_key` like any other, and is never stored.
 */
export const isAuthorizedInput = z.object({ key: z.string().optional(), keyId: z.string().optional() })

/** The input type of `isAuthorized`: see {@link isAuthorizedInput}. */
export type IsAuthorizedInput = z.input<typeof isAuthorizedInput>

/** The owner of an authorized key. */
export interface Authorization {
  /** user id, a UUID */
  ownerId: string
  apiKeyId: string
  username: string
}
