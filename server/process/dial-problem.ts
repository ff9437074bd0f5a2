/** Describes a failed dial in words that name the cure. */
import type { DialError } from '../../shared/rpc/dial-error.js'

/**
 * Returns the error code of the network or of TLS, such as `ECONNREFUSED`; undefined after a response of the server.
 */
export function networkCodeOf(error: DialError): string | undefined {
  const code: unknown = Reflect.get(Object(error.cause), 'code')
  return typeof code === 'string' ? code : undefined
}

/**
 * Describes a failed dial in one sentence without the credentials of the dial.
 * @param url the base URL that was dialled
 * @param howToStart the cure if nothing listens at the URL
 */
export function dialProblem(error: DialError, url: string, howToStart: string): string {
  const { status, reason, message } = error
  const code = networkCodeOf(error)
  if (status === undefined) return networkProblem(code ?? message, url, howToStart)
  if (reason !== undefined) return `${url}: ${message}`
  if (status === 426)
    return `${url} is aibridge behind a proxy that drops WebSocket upgrades; pass the headers Upgrade and Connection on`
  if (status === 429)
    return `${url} takes no further key from this address for now, because many were wrong; try again later`
  if (status >= 300 && status < 400)
    return `${url} redirects (HTTP status ${status}); give the URL that it redirects to, probably https://`
  if (status >= 502 && status <= 504)
    return `the proxy at ${url} reaches no aibridge (HTTP status ${status}); ${howToStart}`
  return `the server at ${url} is not aibridge (HTTP status ${status}); check the host, the port and the path of the URL`
}

function networkProblem(code: string, url: string, howToStart: string): string {
  const isTls = url.startsWith('https:')
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `no host has the name in ${url} (${code}); check the URL`
  if (untrusted.has(code)) {
    return `the certificate of ${url} is of no authority that this machine trusts (${code}); name the file of its authority with --ca`
  }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return `the certificate of ${url} is not valid now (${code}); renew it, or set this machine's clock`
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the certificate of ${url} is for another host (${code}); use the host name that the certificate has`
  }
  if (isTls && (code === 'EPROTO' || code.startsWith('ERR_SSL_'))) {
    return `no TLS is spoken at ${url} (${code}); try http:// if no proxy is between`
  }
  if (!isTls && (code === 'ECONNRESET' || code.startsWith('HPE_'))) {
    return `no HTTP is spoken at ${url} (${code}); try https:// if a proxy ends TLS there`
  }
  return `no server responds at ${url} (${code}); ${howToStart}`
}

/** OpenSSL's names for a chain that ends in no trusted authority. */
const untrusted = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_UNTRUSTED',
])
