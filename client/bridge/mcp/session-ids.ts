/**
 * The ids of sessions as clients see them. An MCP server's own id never leaves the bridge: a client gets the id sealed
 * for its user and server. So a session belongs to the user that opened it, on every bridge and behind a restart,
 * without a table that bridges would have to share.
 */
import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto'

/** A user and a server. */
export interface SessionPlace {
  /** of the user, shared by all bridges of a control plane */
  secret: Buffer
  userId: string
  serverId: string
}

const nonceLength = 12
const tagLength = 16

/** The longest id of a server that is sealed; ids are UUIDs or tokens. */
export const maxServerSessionIdLength = 1024
const maxSealedLength = 2048

/**
 * Returns the id that a client gets for a server's id, which is always the same: some clients take the id from each
 * response. The nonce is made of the id, as in SIV (RFC 5297), so that it never repeats for another id.
 */
export function sealSessionId(place: SessionPlace, id: string): string {
  const nonce = nonceOf(place, id)
  const cipher = createCipheriv('aes-256-gcm', keyOf(place, 'encryption'), nonce, { authTagLength: tagLength })
  const sealed = Buffer.concat([nonce, cipher.update(id, 'utf8'), cipher.final(), cipher.getAuthTag()])
  return sealed.toString('base64url')
}

/** Returns the server's id; undefined for an id that was not sealed for this user and server. */
export function openSessionId(place: SessionPlace, sealed: string): string | undefined {
  if (sealed.length > maxSealedLength || !/^[\w-]+$/.test(sealed)) return undefined
  const bytes = Buffer.from(sealed, 'base64url')
  if (bytes.length <= nonceLength + tagLength) return undefined
  const nonce = bytes.subarray(0, nonceLength)
  const decipher = createDecipheriv('aes-256-gcm', keyOf(place, 'encryption'), nonce, { authTagLength: tagLength })
  decipher.setAuthTag(bytes.subarray(-tagLength))
  try {
    const id = Buffer.concat([decipher.update(bytes.subarray(nonceLength, -tagLength)), decipher.final()]).toString()
    return timingSafeEqual(nonceOf(place, id), nonce) ? id : undefined
  } catch {
    return undefined
  }
}

function nonceOf(place: SessionPlace, id: string): Buffer {
  return createHmac('sha256', keyOf(place, 'nonce')).update(id).digest().subarray(0, nonceLength)
}

function keyOf({ secret, userId, serverId }: SessionPlace, purpose: 'encryption' | 'nonce'): Buffer {
  const text = JSON.stringify(['aibridge mcp session', purpose, userId, serverId])
  return createHmac('sha256', secret).update(text).digest()
}
