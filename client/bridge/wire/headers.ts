/** Which headers pass, in both directions. Lists are raw: names and values alternate, duplicates, order and case as they came. */

/** Status line and headers of a provider's response. */
export interface ResponseHead {
  status: number
  statusText: string
  /** names and values alternate; hop-by-hop headers are gone */
  headers: string[]
}

/** RFC 9110, section 7.6.1, and the older `Proxy-Connection`. */
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

/** Beside the hop-by-hop ones: what the next hop sets for itself. Node has answered `Expect` already. */
const ownOfRequest = ['host', 'accept-encoding', 'content-length', 'expect', 'x-bridge-token']

/** What may carry a client's key for a provider of any type; `api-key` is what clients of Azure send. */
export const clientCredentials = ['authorization', 'x-api-key', 'api-key']

/**
 * The headers that reach the provider.
 * @param credential the provider's own, which replaces the client's; undefined keeps the client's (bring your own key)
 */
export function requestHeaders(
  raw: readonly string[],
  credential: { add: readonly [name: string, value: string] | undefined } | undefined,
): string[] {
  const headers = withoutHeaders(raw, credential ? [...ownOfRequest, ...clientCredentials] : ownOfRequest)
  // The copy that is recorded has to be readable.
  headers.push('accept-encoding', 'identity')
  if (credential?.add) headers.push(...credential.add)
  return headers
}

/** The headers that reach the client. */
export function responseHeaders(raw: readonly string[]): string[] {
  return withoutHeaders(raw, [])
}

/** Whether the bytes of an answer are its content. */
export function isPlain(raw: readonly string[]): boolean {
  const encoding = findHeader(raw, 'content-encoding')?.trim().toLowerCase() ?? ''
  return encoding === '' || encoding === 'identity'
}

export function isEventStream(raw: readonly string[]): boolean {
  return /^text\/event-stream\b/i.test(findHeader(raw, 'content-type') ?? '')
}

/** The value of the first header of this name (in lower case). */
export function findHeader(raw: readonly string[], name: string): string | undefined {
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index]?.toLowerCase() === name) return raw[index + 1]
  }
  return undefined
}

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
