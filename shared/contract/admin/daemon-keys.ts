/** Daemon keys, with which remote daemons come to the control plane. */
import { z } from 'zod'
import { apiKeyId, name, time } from '../fields.js'

/** A key of a remote daemon. */
export interface DaemonKey {
  id: string
  name: string | null
  /** may ask the authorizer with the id of an API key, without the key's secret */
  delegate: boolean
  createdAt: Date
  expiresAt: Date | null
  revokedAt: Date | null
  /** time of the newest connection, to the minute */
  lastSeenAt: Date | null
  /** the daemon's description of itself at that time */
  buildVersion: string | null
}

/** The response of `daemonKeys.create`: the only time the whole key leaves the server. */
export interface CreatedDaemonKey extends DaemonKey {
  key: string
}

/** `expiresAt` must lie in the future. */
export const daemonKeysCreateInput = z.object({
  name: name.optional(),
  delegate: z.boolean().default(false),
  expiresAt: time.optional(),
})

/** Revokes a daemon key, and closes the connections of its daemons. */
export const daemonKeysRevokeInput = z.object({ id: apiKeyId })
