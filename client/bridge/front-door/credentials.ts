/** Whose request it is, and whose provider key it uses. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Identification } from '../control-plane/authorization-cache.js'
import { clientCredentials } from '../wire/headers.js'

/** A caller in the daemon's own process. It stands beside a request, never in its headers. */
export interface InProcessCaller {
  /** which part of the process it is, for the log; decides nothing */
  source: string
  /** id of the API key on whose owner the request is recorded */
  keyId: string
}

/** The key of this service that a request carries, or that its caller named. */
export interface Credentials {
  identification: Identification
  /** `byok`: the request keeps the client's own provider credentials; `centralized`: they are replaced by ours */
  kind: 'centralized' | 'byok'
}

/**
 * The first of `X-Bridge-Token` (byok), `Authorization: Bearer` and `X-Api-Key`; undefined if none has a value. Where there is a caller
 * beside the request, its headers do not count.
 */
export function readCredentials(headers: IncomingHttpHeaders, caller?: InProcessCaller): Credentials | undefined {
  if (caller) return { identification: { keyId: caller.keyId }, kind: 'centralized' }
  const bridgeToken = headerText(headers, 'x-bridge-token')
  if (bridgeToken) return { identification: { key: bridgeToken }, kind: 'byok' }
  const key = clientKey(headers)
  return key ? { identification: { key }, kind: 'centralized' } : undefined
}

/** What of a request's credentials is a secret: the key of this service, and those that a client brings for its provider. */
export function secretsOf({ identification }: Credentials, headers: IncomingHttpHeaders): string[] {
  const own = clientCredentials.map(name => headerText(headers, name).replace(/^(bearer|basic) +/i, ''))
  return ['key' in identification ? identification.key : '', ...own].filter(secret => secret !== '')
}

/** What of it may be logged: the public id of the key, where it has the form of one. */
export function publicIdOf({ identification }: Credentials): string | undefined {
  const pattern = 'key' in identification ? /^([A-Za-z0-9]{10})-[A-Za-z0-9]{22}$/ : /^([A-Za-z0-9]{10})$/
  return pattern.exec('key' in identification ? identification.key : identification.keyId)?.[1]
}

/** The value of `Authorization: Bearer`, else of `X-Api-Key`. */
export function clientKey(headers: IncomingHttpHeaders): string | undefined {
  return bearer(headers.authorization) || headerText(headers, 'x-api-key') || undefined
}

function bearer(authorization: string | undefined): string {
  return /^bearer +(.+)$/i.exec(authorization ?? '')?.[1]?.trim() ?? ''
}

function headerText(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  return typeof value === 'string' ? value.trim() : ''
}
