/** The text of a first start: the commands for the first hour. */
import type { ProviderType } from '../../shared/contract/provider-configurator.js'
import { seedVariables } from '../config/settings.js'
import { addressFlags, invocation } from './invocation.js'

/** The first start of a server. */
export interface FirstStart {
  /** the server's URL */
  url: string
  dataDir: string
  /** types of the providers that were made from keys in the environment */
  seeded: readonly ProviderType[]
  /** whether the admin token is in BRIDGE_ADMIN_TOKEN, which commands then need as well */
  isTokenInEnvironment: boolean
}

/**
 * Returns the next steps. Lines that begin with four spaces are commands, ready to be pasted into a shell, in this
 * order.
 */
export function firstSteps({ url, dataDir, seeded, isTokenInEnvironment }: FirstStart): string {
  const base = reachable(url)
  const run = (words: string) => commandFor(words, url, dataDir)
  const place = [
    'In another terminal',
    ...(invocation() === 'aibridge' ? [] : [`in ${process.cwd()}`]),
    ...(isTokenInEnvironment ? ['with the same BRIDGE_ADMIN_TOKEN'] : []),
  ]
  return `aibridge ready at ${base}, data in ${dataDir}

${place.join(', ')}:

  Make a user and a key.
    ${run('users create me')}
    export AIBRIDGE_KEY=$(${run('keys create --user me --key-only')})

  Ask the built-in provider "demo", which needs no account, and see the record.
    curl -sN ${base}/bridge/demo/v1/messages -H "x-api-key: $AIBRIDGE_KEY" -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -d '{"model":"demo","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    ${run('interceptions list')}

${anthropicSteps(seeded.includes('anthropic'), run)}
    ANTHROPIC_BASE_URL=${base}/bridge/anthropic ANTHROPIC_AUTH_TOKEN=$AIBRIDGE_KEY claude

  Or an SDK: new Anthropic({ baseURL: '${base}/bridge/anthropic', authToken: process.env.AIBRIDGE_KEY })
${seeded.includes('openai') ? `  and new OpenAI({ baseURL: '${base}/bridge/openai/v1', apiKey: process.env.AIBRIDGE_KEY })\n` : ''}`
}

function anthropicSteps(isSeeded: boolean, run: (words: string) => string): string {
  const { key } = seedVariables('anthropic')
  return isSeeded
    ? `  Point Claude Code at the provider "anthropic", which has the key of ${key}.`
    : `  Add Anthropic, with your key in ${key}, and point Claude Code at the bridge.
    ${run(`providers add anthropic --type anthropic --key-env ${key}`)}`
}

/** Returns a command line that reaches the server at `url`, ready to be pasted into a shell. */
export function commandFor(words: string, url: string, dataDir: string): string {
  const { hostname, port } = new URL(reachable(url))
  const address = { dataDir, host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) }
  return `${invocation()} ${words}${addressFlags(address)}`
}

/**
 * Returns the URL of a server for this machine: the loopback address in place of a wildcard, without a slash at the
 * end.
 */
function reachable(url: string): string {
  const { hostname, port } = new URL(url)
  const isWildcard = hostname === '0.0.0.0' || hostname === '[::]'
  return isWildcard ? `http://127.0.0.1:${port}` : url.replace(/\/$/, '')
}
