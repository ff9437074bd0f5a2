/** The authorizer: whose key is this. */
import { z } from 'zod'
import { text } from './fields.js'

/** Either `key`, a whole API key, or `keyId` (the delegated path: everything is checked but the secret). */
export const isAuthorizedInput = z.object({ key: text(1024).optional(), keyId: text(1024).optional() })
export type IsAuthorizedInput = z.input<typeof isAuthorizedInput>

/** The owner of a key that is authorized. */
export interface Authorization {
  /** user id, a UUID */
  ownerId: string
  apiKeyId: string
  username: string
}
