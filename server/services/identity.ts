/** The peer of a connection, as established by the link below. */
export type Identity = DaemonIdentity | AdminIdentity | UserIdentity

/** A daemon. */
export interface DaemonIdentity {
  role: 'daemon'
  name: string
  /** may ask with `keyId` instead of a whole API key */
  delegate: boolean
  /** the key of a remote daemon */
  daemonKeyId?: string
  /** a UUID that the daemon's process made at its start; stands in the rows that the daemon records */
  daemonInstance?: string
}

/** An operator. */
export interface AdminIdentity {
  role: 'admin'
  name: string
}

/** A user, by an API key. */
export interface UserIdentity {
  role: 'user'
  /** the user's name */
  name: string
  userId: string
  /** the part of the key before the dash */
  apiKeyId: string
}
