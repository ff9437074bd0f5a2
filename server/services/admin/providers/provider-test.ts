import type { z } from 'zod'
import type {
  ProviderTest,
  ProviderTestFailure,
  providersTestInput,
} from '../../../../shared/contract/admin/providers.js'
import { adminLimits } from '../../../../shared/contract/limits.js'
import type { ProviderType } from '../../../../shared/contract/provider-configurator.js'
import { RpcError } from '../../../../shared/rpc/errors.js'
import { isPlainObject } from '../../../../shared/values/text.js'
import type { AuditedWrites, ProviderRow, ProviderStore } from '../../../store/store.js'
import { auditEntry } from '../../audit-entry.js'
import { providerKeyPlace, type SecretBox } from '../../secrets.js'
import { unknownRow } from '../../unknown-row.js'
import { requestModels } from './models-request.js'
import { baseUrlWarning, modelsUrlOf } from './provider-urls.js'

/** Asking a provider whether it can work. */
export interface ProviderTester {
  /**
   * Asks a provider, enabled or not, for its models, from this server and with the preferred key, as the bridge does.
   * The result holds neither the key nor any text of the provider. The audit log gets an entry.
   * @throws RpcError `NOT_FOUND` (unknown_row); `PRECONDITION_FAILED` if the provider is this server's own and the
   *   server does not listen
   */
  test(
    input: z.output<typeof providersTestInput>,
    actor: string,
    signal: AbortSignal | undefined,
  ): Promise<ProviderTest>
}

/** The parts of {@link createProviderTester}. */
export interface ProviderTesterOptions {
  store: Pick<ProviderStore, 'listProviders'> & AuditedWrites
  secrets: SecretBox
  /** where this server is reached from its own machine, without a slash at its end; undefined until it listens */
  ownUrl: () => string | undefined
  /** default 10 s, well below the deadline of a call */
  providerTestTimeoutMs?: number
}

type Outcome = Pick<ProviderTest, 'status' | 'models' | 'failure' | 'message'>

/** Type → the headers that authenticate, as the bridge sends them (client/bridge/providers). */
export const credentialHeaders: Record<ProviderType, (key: string) => Record<string, string>> = {
  anthropic: key =>
    key.startsWith('sk-ant-oat')
      ? { authorization: `Bearer ${key}`, 'anthropic-beta': 'oauth-2025-04-20' }
      : { 'x-api-key': key },
  openai: key => ({ authorization: `Bearer ${key}` }),
}

/** Type → its other headers. https://docs.anthropic.com/en/api/versioning */
const otherHeaders: Record<ProviderType, Record<string, string>> = {
  anthropic: { 'anthropic-version': '2023-06-01' },
  openai: {},
}

/** Creates the test of providers. */
export function createProviderTester(options: ProviderTesterOptions): ProviderTester {
  const { store, secrets, ownUrl, providerTestTimeoutMs: timeoutMs = adminLimits.providerTestTimeoutMs } = options

  /** The preferred key; null if there is none. */
  function firstKey({ name, keys }: ProviderRow): { text: string | undefined; hint: string } | null {
    const [first] = keys
    if (!first) return null
    try {
      return { text: secrets.open(first.sealed, providerKeyPlace(name, first.id)), hint: first.hint }
    } catch {
      return { text: undefined, hint: first.hint }
    }
  }

  async function ask(url: string, row: ProviderRow, signal: AbortSignal | undefined): Promise<Outcome> {
    const key = firstKey(row)
    if (key && key.text === undefined) {
      return failed('key_unreadable', `the key ${key.hint} cannot be opened with the server's encryption key`)
    }
    const timeout = AbortSignal.timeout(timeoutMs)
    const headers = {
      accept: 'application/json',
      'user-agent': 'aibridge',
      ...otherHeaders[row.type],
      ...(key?.text !== undefined && credentialHeaders[row.type](key.text)),
    }
    try {
      const { status, body } = await requestModels(url, {
        headers,
        maxBytes: adminLimits.maxModelsBytes,
        signal: AbortSignal.any(signal ? [signal, timeout] : [timeout]),
      })
      return outcomeOf(status, body, row, key?.hint)
    } catch (error) {
      signal?.throwIfAborted()
      if (timeout.aborted) return failed('timeout', `no whole response within ${timeoutMs.toLocaleString('en')} ms`)
      return networkFailure(error, new URL(url))
    }
  }

  return {
    async test({ name }, actor, signal) {
      const row = (await store.listProviders()).find(provider => provider.name === name)
      if (!row) throw unknownRow('provider', name)
      const url = modelsUrlOf(row.type, absolute(row.baseUrl, ownUrl()))
      const startedAt = performance.now()
      const outcome = await ask(url, row, signal)
      const durationMs = Math.round(performance.now() - startedAt)
      const { status, models, failure } = outcome
      await store.audited(
        async () => {},
        () => auditEntry(actor, 'providers.test', name, { url, status, models, failure }),
      )
      return { name, ok: failure === null, url, key: row.keys[0]?.hint ?? null, durationMs, ...outcome }
    },
  }
}

function absolute(baseUrl: string, ownUrl: string | undefined): string {
  if (!baseUrl.startsWith('/')) return baseUrl
  if (ownUrl === undefined) {
    throw new RpcError(
      'PRECONDITION_FAILED',
      `the base URL ${baseUrl} is this server's own, and the server does not listen`,
    )
  }
  return ownUrl + baseUrl
}

function failed(failure: ProviderTestFailure, message: string, status: number | null = null): Outcome {
  return { status, models: null, failure, message }
}

/** Returns the outcome of a test that got a response. */
function outcomeOf(status: number, body: string | undefined, row: ProviderRow, hint: string | undefined): Outcome {
  if (status === 401 || status === 403) {
    const problem = hint === undefined ? 'wants a key, and none is configured' : `rejects the key ${hint}`
    return failed('unauthorized', `the provider ${problem}`, status)
  }
  if (status === 404) return failed('not_found', notFoundProblem(row), status)
  if (status >= 300 && status < 400) {
    return failed('redirect', 'the provider redirects to another URL; give that one as the base URL', status)
  }
  if (status !== 200) return failed('status', `the provider responds with status ${status}`, status)
  if (body === undefined) {
    const limit = adminLimits.maxModelsBytes.toLocaleString('en')
    return failed('too_large', `the response is larger than ${limit} bytes`, status)
  }
  const json = parsed(body)
  if (json === undefined) return failed('not_json', 'the response is not JSON; is this the URL of an API?', status)
  const models = isPlainObject(json) ? json.data : undefined
  if (!Array.isArray(models)) return failed('no_models', 'the response is JSON without a list of models', status)
  return { status, models: models.length, failure: null, message: null }
}

function notFoundProblem({ type, baseUrl }: ProviderRow): string {
  switch (baseUrlWarning(type, baseUrl)) {
    case 'base_url_lacks_v1':
      return 'nothing is found there: the base URL lacks /v1'
    case 'base_url_doubles_v1':
      return 'nothing is found there: the base URL doubles /v1'
    case 'base_url_names_endpoint':
      return 'nothing is found there: the base URL ends with the path of one endpoint'
    default:
      return 'nothing is found there: the base URL is wrong, or the provider does not list its models'
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const unknownAuthority = /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_SELF_SIGNED_)/
/**
 * OpenSSL's and Node's own codes; EPROTO is a handshake that failed, for instance with a server that speaks plain HTTP.
 */
const tls = /^(ERR_SSL_|ERR_TLS_|CERT_|CRL_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/

/**
 * Returns the outcome of a test without a response: the code of the error, without the message, which may quote the
 * server.
 */
function networkFailure(error: unknown, { hostname, host }: URL): Outcome {
  const found: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  const code = typeof found === 'string' ? found : 'no code'
  if (code === 'ENOTFOUND' || code.startsWith('EAI_')) {
    return failed('dns', `the name ${hostname} has no address (${code})`)
  }
  if (code === 'ECONNREFUSED') return failed('refused', `nothing accepts connections at ${host} (${code})`)
  if (unknownAuthority.test(code)) {
    const cure = 'start the server with NODE_EXTRA_CA_CERTS=FILE, the authority in PEM'
    return failed(
      'tls',
      `the certificate of ${host} is signed by an authority that this server does not know (${code}); ${cure}`,
    )
  }
  if (tls.test(code)) return failed('tls', `no TLS connection to ${host} (${code})`)
  if (code === 'ECONNRESET' || code === 'EPIPE' || code.startsWith('HPE_')) {
    return failed('broken', `${host} ends the connection without a whole HTTP response (${code})`)
  }
  return failed('unreachable', `${host} cannot be reached (${code})`)
}
