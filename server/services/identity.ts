/**
 * Who is at the other end of a connection, as the link below has established it.
 * `delegate`: may ask with `keyId` instead of a whole API key.
 */
export type Identity = { role: 'daemon'; name: string; delegate: boolean } | { role: 'admin'; name: string }
