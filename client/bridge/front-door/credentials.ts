/** The credentials of a request: the key of this service, and the client's own for its provider. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Identification } from '../control-plane/authorization-cache.js'
import { clientCredentials } from '../wire/headers.js'
import type { RejectionReason } from '../wire/rejection.js'

/** A caller in the daemon's own process. The caller is named beside a request, never in its headers. */
export interface InProcessCaller {
  /** the part of the process that calls, for the log; decides nothing */
  source: string
  /** id of the API key whose owner the request is recorded for */
  keyId: string
  /** the session of the recorded request, in place of the one that its headers or its body name */
  sessionId?: string | undefined
  /** Called with the id of the interception, when it is recorded and before the provider is called. Must not throw. */
  onInterception?: ((id: string) => void) | undefined
  /** Called with the reason of a rejection, before the response of the bridge itself. Must not throw. */
  onRejection?: ((reason: RejectionReason) => void) | undefined
}

/** The key of this service, from a request's headers or from its caller. */
export interface Credentials {
  identification: Identification
  /** `byok`: the request keeps the client's own provider credentials; `centralized`: ours replace them */
  kind: 'centralized' | 'byok'
}

/**
 * Returns the first key of `X-Bridge-Token` (byok), `Authorization: Bearer`, `X-Api-Key` and `Api-Key`; undefined
 * without any. Text that does not have the form of a key is passed over if a later header holds a key: clients send a
 * token of their own account beside ours. If a caller is given, the headers do not count.
 */
export function readCredentials(headers: IncomingHttpHeaders, caller?: InProcessCaller): Credentials | undefined {
  if (caller) return { identification: { keyId: caller.keyId }, kind: 'centralized' }
  const bridgeToken = headerText(headers, 'x-bridge-token')
  if (bridgeToken) return { identification: { key: bridgeToken }, kind: 'byok' }
  const given = clientKeys(headers)
  const key = given.find(text => keyForm.test(text)) ?? given[0]
  return key ? { identification: { key }, kind: 'centralized' } : undefined
}

/** Returns the key of this service that the request showed; undefined for a caller in this process. */
export function shownKey({ identification }: Credentials): string | undefined {
  return 'key' in identification ? identification.key : undefined
}

/** Returns the secrets of a request: the key of this service, and the client's keys for its provider. */
export function secretsOf({ identification }: Credentials, headers: IncomingHttpHeaders): string[] {
  const own = clientCredentials.map(name => headerText(headers, name).replace(/^(bearer|basic)[ \t]+/i, ''))
  return ['key' in identification ? identification.key : '', ...own].filter(secret => secret !== '')
}

/** The form of a key; its first part is the public id. */
const keyForm = /^([A-Za-z0-9]{10})-[A-Za-z0-9]{22}$/

/** Returns whether a text has the form of a key of this service. */
export function hasKeyForm(text: string): boolean {
  return keyForm.test(text)
}

/** Returns the public id of the key, which may be logged; undefined for text that is no key. */
export function publicIdOf({ identification }: Credentials): string | undefined {
  const pattern = 'key' in identification ? keyForm : /^([A-Za-z0-9]{10})$/
  return pattern.exec('key' in identification ? identification.key : identification.keyId)?.[1]
}

/** Returns the client's own key for its provider: the first of `Authorization: Bearer`, `X-Api-Key` and `Api-Key`. */
export function clientKey(headers: IncomingHttpHeaders): string | undefined {
  return clientKeys(headers)[0]
}

function clientKeys(headers: IncomingHttpHeaders): string[] {
  const keys = [bearer(headers.authorization), headerText(headers, 'x-api-key'), headerText(headers, 'api-key')]
  return keys.filter(key => key !== '')
}

function bearer(authorization: string | undefined): string {
  return /^bearer[ \t]+(.+)$/i.exec(authorization ?? '')?.[1]?.trim() ?? ''
}

/** Returns the text of a header. Node joins headers of one name; equal ones count once. */
function headerText(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  if (typeof value !== 'string') return ''
  const [first = '', ...others] = value.split(',').map(part => part.trim())
  return others.every(other => other === first) ? first : value.trim()
}
