/** API keys, with which AI clients come to the bridge. */
import { z } from 'zod'
import { apiKeyId, name, time } from '../fields.js'
import { userRef } from './users.js'

/**
 * An API key without its secret. `id` is the part of the key before the dash; `expiresAt` is null for a key that
 * never expires.
 */
export interface ApiKey {
  id: string
  userId: string
  /** null for a deleted user */
  username: string | null
  name: string | null
  createdAt: Date
  expiresAt: Date | null
  /** time of the newest authorized request with the key, to the minute; null if none was */
  lastUsedAt: Date | null
}

/** The response of `apiKeys.create`: the only time the whole key leaves the server. */
export interface CreatedApiKey extends ApiKey {
  key: string
}

/** `expiresAt` must lie in the future. */
export const apiKeysCreateInput = z.object({ user: userRef, name: name.optional(), expiresAt: time.optional() })

/** Lists the API keys of one user, or of all users. */
export const apiKeysListInput = z.object({ user: userRef.optional() })

/** Lets an API key expire now. */
export const apiKeysExpireInput = z.object({ id: apiKeyId })

/** Deletes an API key. */
export const apiKeysDeleteInput = z.object({ id: apiKeyId })
