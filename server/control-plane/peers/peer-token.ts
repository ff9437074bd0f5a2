/** Tokens by which the servers of one database know each other: a holder of the encryption key made them. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import { peerLimits } from '../../../shared/contract/limits.js'
import type { Credentials } from '../../rpc/upgrade/listener-options.js'
import type { SecretBox } from '../../services/secrets.js'
import { tokenOf } from '../authenticate.js'

/** The keys of tokens: one for each encryption key. */
type Keys = Pick<SecretBox, 'deriveEach'>

const { tokenValidMs } = peerLimits

/**
 * Makes a token for one dial to one server: the time, a nonce, and for each of this server's keys an HMAC over both and
 * the server that is dialled. During a rotation of keys any two servers have one in common, and either may be the
 * older.
 * @param target the id of the server's process
 */
export function createPeerToken(keys: Keys, target: string, now = Date.now()): string {
  const facts = [Math.floor(now / 1000), randomBytes(16).toString('base64url')].join('.')
  return [facts, ...keysOf(keys).map(key => macOf(key, target, facts))].join('.')
}

/** Settings of {@link createPeerAuthenticator}. */
export interface PeerAuthenticatorOptions {
  keys: Keys
  /** the id of this process */
  replica: string
  now?: () => number
}

/**
 * Accepts the other servers of the database. A token counts once, at the server that it was made for, for five minutes.
 * @throws RpcError `UNAUTHORIZED` (key_missing; key_invalid; key_expired for a token of a server whose clock differs)
 */
export function createPeerAuthenticator({
  keys,
  replica,
  now = Date.now,
}: PeerAuthenticatorOptions): (credentials: Credentials) => Promise<undefined> {
  /** facts of tokens that were used → the time at which they are of no use any more */
  const used = new Map<string, number>()
  return async ({ authorization }) => {
    const token = parsed(tokenOf(authorization))
    const own = keysOf(keys).map(key => Buffer.from(macOf(key, replica, token?.facts ?? '')))
    // Every pair is compared, so the time does not tell which key was right.
    let matches = false
    for (const mac of token?.macs ?? []) for (const expected of own) matches = isEqual(mac, expected) || matches
    if (!token || !matches) throw rpcError('key_invalid', 'this is no token of a server with the same encryption key')
    const time = now()
    for (const [facts, endsAt] of used) {
      if (endsAt >= time) break
      used.delete(facts)
    }
    if (Math.abs(time - token.at) > tokenValidMs) {
      throw rpcError(
        'key_expired',
        'the token is minutes older or newer than this clock; set the clocks of the servers',
      )
    }
    if (used.has(token.facts)) throw rpcError('key_invalid', 'the token was used before')
    // The longest time for which the check above lets a token pass.
    used.set(token.facts, time + 2 * tokenValidMs)
  }
}

interface Token {
  facts: string
  /** on the clock of the server that made the token, in milliseconds */
  at: number
  macs: string[]
}

/** At most four keys: a rotation has two. */
const form = /^((\d{1,12})\.[\w-]{22})((?:\.[\w-]{43}){1,4})$/

function parsed(text: string): Token | undefined {
  const [, facts = '', seconds, macs = ''] = form.exec(text) ?? []
  return seconds === undefined ? undefined : { facts, at: Number(seconds) * 1000, macs: macs.slice(1).split('.') }
}

function keysOf(keys: Keys): Buffer[] {
  return keys.deriveEach(['peer']).slice(0, 4)
}

function macOf(key: Buffer, target: string, facts: string): string {
  return createHmac('sha256', key)
    .update(JSON.stringify([target, facts]))
    .digest('base64url')
}

function isEqual(given: string, expected: Buffer): boolean {
  const bytes = Buffer.from(given)
  return bytes.length === expected.length && timingSafeEqual(bytes, expected)
}
