import { mcpLimits } from '../../../shared/contract/limits.js'

/** The requests to servers that know a token. Errors hold nothing of a request or response. */
export interface OAuthClient {
  /** Returns whether an access token is still valid, by the status of the response. */
  validate(request: { url: string; accessToken: string; signal: AbortSignal }): Promise<'valid' | 'invalid'>
  /**
   * Runs the refresh grant of RFC 6749, section 6.
   * @throws InvalidGrant if the refresh token is invalid for good; OAuthFailed if the server responds otherwise than
   *   the RFC demands
   */
  refresh(request: {
    url: string
    clientId: string
    clientSecret: string | null
    refreshToken: string
    signal: AbortSignal
  }): Promise<RefreshedTokens>
}

export interface RefreshedTokens {
  accessToken: string
  /** null: the old refresh token stays valid */
  refreshToken: string | null
  /** seconds from now; null: the server gives no time */
  expiresInSeconds: number | null
}

/** The refresh token was used up, expired or revoked: the user has to link again. */
export class InvalidGrant extends Error {
  override readonly name = 'InvalidGrant'
}

/** The server could not be reached, or responded otherwise than the RFC demands. */
export class OAuthFailed extends Error {
  override readonly name = 'OAuthFailed'
}

/** Uses HTTP without following redirects: a token goes to the configured server, and to no other. */
export const httpOAuthClient: OAuthClient = {
  async validate({ url, accessToken, signal }) {
    const { status } = await ask(url, { headers: { authorization: `Bearer ${accessToken}` }, signal })
    if (status >= 200 && status < 300) return 'valid'
    if (status === 401 || status === 403) return 'invalid'
    throw new OAuthFailed(`the check of the token has status ${status}`)
  },

  async refresh({ url, clientId, clientSecret, refreshToken, signal }) {
    const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken })
    const headers = new Headers({ accept: 'application/json' })
    // Section 2.3.1: a client with a secret authenticates by HTTP Basic, both parts form-encoded; a client without a
    // secret sends its id.
    if (clientSecret === null) form.set('client_id', clientId)
    else headers.set('authorization', `Basic ${btoa(`${formEncode(clientId)}:${formEncode(clientSecret)}`)}`)
    const { status, body } = await ask(url, { method: 'POST', headers, body: form, signal })
    const response = parseObject(body)
    if (status === 400 && response?.error === 'invalid_grant') throw new InvalidGrant('the refresh token is no good')
    if (status !== 200 || !response) throw new OAuthFailed(`the response to the refresh has status ${status}`)
    return tokensOf(response)
  },
}

function tokensOf(response: Record<string, unknown>): RefreshedTokens {
  const { access_token: accessToken, refresh_token: refreshToken = null, expires_in: expiresIn = null } = response
  if (!isToken(accessToken) || !(refreshToken === null || isToken(refreshToken))) {
    throw new OAuthFailed('the response to the refresh has no usable token')
  }
  const seconds = Number(expiresIn)
  return {
    accessToken,
    refreshToken,
    expiresInSeconds: expiresIn === null || !(seconds >= 0 && seconds < 1e10) ? null : seconds,
  }
}

/** Text that a header can carry. */
function isToken(value: unknown): value is string {
  return typeof value === 'string' && value.length <= mcpLimits.maxTokenLength && /^[\x21-\x7e]+$/.test(value)
}

async function ask(
  url: string,
  init: RequestInit & { signal: AbortSignal },
): Promise<{ status: number; body: string }> {
  let response: Response
  try {
    response = await fetch(url, { ...init, redirect: 'manual' })
  } catch {
    // The cause is left out: a caller learns of an abort by the caller's own signal, and a network's message may quote
    // the URL.
    throw new OAuthFailed('the server cannot be reached')
  }
  return { status: response.status, body: await readShort(response) }
}

async function readShort(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length
      if (bytes > mcpLimits.maxOAuthResponseBytes) break
      chunks.push(chunk)
    }
  } catch {
    throw new OAuthFailed('the response broke off')
  }
  if (bytes > mcpLimits.maxOAuthResponseBytes) {
    throw new OAuthFailed(`the response is larger than ${mcpLimits.maxOAuthResponseBytes} bytes`)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function formEncode(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}
