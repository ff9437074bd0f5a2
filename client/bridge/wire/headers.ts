/**
 * Which headers pass, in both directions. Lists are raw: names and values alternate; duplicates, order and case are as
 * received.
 */

/** Status line and headers of a provider's response. */
export interface ResponseHead {
  status: number
  statusText: string
  /** names and values alternate; hop-by-hop headers are removed */
  headers: string[]
}

/** The headers of RFC 9110, section 7.6.1, and the older `Proxy-Connection`. */
const hopByHop = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/** Further request headers that stay here: the next hop sets its own. Node has handled `Expect` already. */
const ownOfRequest = ['host', 'accept-encoding', 'content-length', 'expect', 'x-bridge-token']

/** The headers that may carry a client's key for a provider of any type; clients of Azure send `api-key`. */
export const clientCredentials = ['authorization', 'x-api-key', 'api-key']

/**
 * Returns the headers that reach the provider.
 * @param credential header of the provider's own credential, which replaces the client's credentials; undefined keeps
 *   those (bring your own key)
 */
export function requestHeaders(
  raw: readonly string[],
  credential: { add: readonly [name: string, value: string] | undefined } | undefined,
): string[] {
  const headers = withoutHeaders(raw, credential ? [...ownOfRequest, ...clientCredentials] : ownOfRequest)
  // The recorder reads a copy of the response, so it must not be compressed.
  headers.push('accept-encoding', 'identity')
  if (credential?.add) headers.push(...credential.add)
  return headers
}

/** Returns the headers that reach the client. */
export function responseHeaders(raw: readonly string[]): string[] {
  return withoutHeaders(raw, [])
}

/** Returns whether the body of a response is not encoded: its bytes are its content. */
export function isPlain(raw: readonly string[]): boolean {
  const encoding = findHeader(raw, 'content-encoding')?.trim().toLowerCase() ?? ''
  return encoding === '' || encoding === 'identity'
}

/** Returns whether a response is labelled as an event stream. */
export function isEventStream(raw: readonly string[]): boolean {
  return /^text\/event-stream\b/i.test(findHeader(raw, 'content-type') ?? '')
}

/** Returns the value of the first header of a name, which is given in lower case. */
export function findHeader(raw: readonly string[], name: string): string | undefined {
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index]?.toLowerCase() === name) return raw[index + 1]
  }
  return undefined
}

/**
 * Returns the headers without those of the given names (in lower case) and without hop-by-hop headers, also those that
 * `Connection` names.
 */
export function withoutHeaders(raw: readonly string[], names: readonly string[]): string[] {
  const dropped = new Set([...hopByHop, ...names])
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index]?.toLowerCase() !== 'connection') continue
    for (const name of (raw[index + 1] ?? '').split(',')) dropped.add(name.trim().toLowerCase())
  }
  const kept: string[] = []
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]
    const value = raw[index + 1]
    if (name !== undefined && value !== undefined && !dropped.has(name.toLowerCase())) kept.push(name, value)
  }
  return kept
}
