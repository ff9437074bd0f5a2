/**
 * The peer of a connection, as established by the link below. `delegate`: may ask with `keyId` instead of a whole API
 * key. `daemonKeyId`: the key of a remote daemon.
 */
export type Identity =
  | { role: 'daemon'; name: string; delegate: boolean; daemonKeyId?: string }
  | { role: 'admin'; name: string }
