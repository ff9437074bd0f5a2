/**
 * Who is at the other end of a connection, as the link below has established it.
 * `delegate`: may ask with `keyId` instead of a whole API key. `daemonKeyId`: of a remote daemon, the key with which it came.
 */
export type Identity =
  | { role: 'daemon'; name: string; delegate: boolean; daemonKeyId?: string }
  | { role: 'admin'; name: string }
