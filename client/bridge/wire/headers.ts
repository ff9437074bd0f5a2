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

/**
 * Request headers about the way from the client to this bridge, which are no provider's business: cookies, addresses of
 * the client, and the headers of edges and sign-in proxies. `cf-aig-*` passes: it belongs to a gateway that may be the
 * upstream.
 */
const ownOfTheWay = [
  'cookie',
  'cookie2',
  'forwarded',
  'x-forwarded-*',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'true-client-ip',
  'x-original-*',
  'x-envoy-external-address',
  'via',
  'cdn-loop',
  'fly-client-ip',
  'fastly-client-ip',
  'x-azure-*',
  'cf-connecting-ip*',
  'cf-ipcountry',
  'cf-ray',
  'cf-visitor',
  'cf-worker',
  'cf-access-*',
  'cf-warp-*',
  'x-auth-request-*',
  'x-amzn-oidc-*',
  'x-goog-iap-*',
  'x-ms-client-principal*',
  'remote-user',
  'x-remote-*',
  'x-pomerium-*',
  'tailscale-user-*',
]

/** The headers that may carry a client's key for a provider of any type; clients of Azure send `api-key`. */
export const clientCredentials = ['authorization', 'x-api-key', 'api-key', 'x-goog-api-key']

/** Headers that select an account, and belong to the credential that is replaced. */
const companionsOfCredentials = ['openai-organization', 'openai-project', 'openai-platform', 'chatgpt-account-id']

/** Response headers that stay here: a cookie of the provider belongs to no client. */
const ownOfResponse = ['set-cookie', 'set-cookie2']

/** The operator decides which web pages may read a response, not the provider. */
const isCors = headerTest(['access-control-*'])

/** The header by which a bridge recognises a request of another bridge, or of its own. */
export const loopHeader = 'x-bridge-loop'

/** Returns whether a header has one of some names, in any case. */
export type HeaderTest = (name: string) => boolean

/** Makes a test for names in lower case; a name that ends with `*` stands for all names with this beginning. */
export function headerTest(names: readonly string[]): HeaderTest {
  const exact = new Set(names.filter(name => !name.endsWith('*')))
  const prefixes = names.filter(name => name.endsWith('*')).map(name => name.slice(0, -1))
  return name => {
    const lower = name.toLowerCase()
    return exact.has(lower) || prefixes.some(prefix => lower.startsWith(prefix))
  }
}

const isOwnOfTheWay = headerTest(ownOfTheWay)
const droppedOfByok = new Set([...hopByHop, ...ownOfRequest])
const droppedOfCentralized = new Set([...droppedOfByok, ...clientCredentials, ...companionsOfCredentials])
const droppedOfResponse = new Set([...hopByHop, ...ownOfResponse])

/** The rules for the headers of one request. */
export interface RequestHeaderRules {
  /**
   * headers of the provider's own credential, names and values alternating, which replace the client's credentials;
   * undefined keeps those (bring your own key)
   */
  credential: readonly string[] | undefined
  /** further headers that stay here, as the operator names them */
  withheld?: HeaderTest
  /** the aibridge key of the request; a header whose value contains it stays here */
  key?: string | undefined
}

/** Returns the headers that reach the provider. */
export function requestHeaders(raw: readonly string[], { credential, withheld, key }: RequestHeaderRules): string[] {
  const candidates = keptHeaders(raw, credential ? droppedOfCentralized : droppedOfByok)
  const headers: string[] = []
  for (let index = 0; index + 1 < candidates.length; index += 2) {
    const name = candidates[index] ?? ''
    const value = candidates[index + 1] ?? ''
    if (isOwnOfTheWay(name) || withheld?.(name) || (key && value.includes(key))) continue
    headers.push(name, value)
  }
  // The recorder reads a copy of the response, so it must not be compressed.
  headers.push('accept-encoding', 'identity', loopHeader, '1')
  if (credential) headers.push(...credential)
  return headers
}

/** Returns the headers that reach the client, with `Retry-After` in whole seconds. */
export function responseHeaders(raw: readonly string[]): string[] {
  const headers = keptHeaders(raw, droppedOfResponse, isCors)
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (headers[index]?.toLowerCase() !== 'retry-after') continue
    headers[index + 1] = wholeSeconds(headers[index + 1] ?? '', findHeader(raw, 'date'))
  }
  return headers
}

/**
 * Returns a value of `Retry-After` in whole seconds, rounded up: SDKs read no date and no fraction. Text that is
 * neither stays as it is.
 * @param sentAt the response's `Date`, by whose clock a date counts
 */
function wholeSeconds(value: string, sentAt: string | undefined): string {
  const text = value.trim()
  if (/^\d{1,15}(\.\d*)?$/.test(text)) return String(Math.ceil(Number(text)))
  // RFC 9110, section 10.2.3: a date, whose forms all begin with the name of a day.
  const until = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(until)) return value
  const sent = Date.parse(sentAt ?? '')
  return String(Math.max(0, Math.ceil((until - (Number.isNaN(sent) ? Date.now() : sent)) / 1000)))
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
  return keptHeaders(raw, new Set([...hopByHop, ...names]))
}

/**
 * Returns the headers without those of a set of names, those that `Connection` names, and those of a test.
 * @param dropped in lower case, hop-by-hop headers among them
 */
function keptHeaders(raw: readonly string[], dropped: ReadonlySet<string>, isDropped?: HeaderTest): string[] {
  const named = namedByConnection(raw)
  const kept: string[] = []
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? ''
    const lower = name.toLowerCase()
    if (!dropped.has(lower) && !named.includes(lower) && !isDropped?.(lower)) kept.push(name, raw[index + 1] ?? '')
  }
  return kept
}

/** Returns the names in `Connection`, in lower case. */
function namedByConnection(raw: readonly string[]): string[] {
  const names: string[] = []
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index]?.toLowerCase() !== 'connection') continue
    names.push(...(raw[index + 1] ?? '').split(',').map(name => name.trim().toLowerCase()))
  }
  return names
}
