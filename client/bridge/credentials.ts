/** Whose request it is, and whose provider key it uses. */
import type { IncomingHttpHeaders } from 'node:http'

/** The key of this service that a request carries. */
export interface Credentials {
  token: string
  /** `byok`: the request keeps the client's own provider credentials; `centralized`: they are replaced by ours */
  kind: 'centralized' | 'byok'
}

/** The first of `X-Bridge-Token` (byok), `Authorization: Bearer` and `X-Api-Key`; undefined if none has a value. */
export function readCredentials(headers: IncomingHttpHeaders): Credentials | undefined {
  const bridgeToken = headerText(headers, 'x-bridge-token')
  if (bridgeToken) return { token: bridgeToken, kind: 'byok' }
  const token = clientKey(headers)
  return token ? { token, kind: 'centralized' } : undefined
}

/** The value of `Authorization: Bearer`, else of `X-Api-Key`. */
export function clientKey(headers: IncomingHttpHeaders): string | undefined {
  return bearer(headers.authorization) || headerText(headers, 'x-api-key') || undefined
}

/** Enough of a key to recognise it, never more than a third of it: `sk-a…wxyz`. */
export function credentialHint(key: string): string {
  const shown = Math.min(8, Math.floor(key.length / 3))
  const end = Math.floor(shown / 2)
  return `${key.slice(0, shown - end)}…${end > 0 ? key.slice(-end) : ''}`
}

function bearer(authorization: string | undefined): string {
  return /^bearer +(.+)$/i.exec(authorization ?? '')?.[1]?.trim() ?? ''
}

function headerText(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  return typeof value === 'string' ? value.trim() : ''
}
