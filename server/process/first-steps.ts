/** What the first start prints. */
import { addressFlags, invocation } from './invocation.js'

/**
 * What to do next. Lines that begin with four spaces are commands, ready to be pasted into a shell, in this order.
 * @param url where the server listens
 */
export function firstSteps(url: string, dataDir: string): string {
  const base = reachable(url)
  const run = (words: string) => commandFor(words, url, dataDir)
  return `aibridge ready at ${base}, data in ${dataDir}

In another terminal${invocation() === 'aibridge' ? '' : `, in ${process.cwd()}`}:

  Make a user and a key.
    ${run('users create me')}
    export AIBRIDGE_KEY=$(${run('keys create --user me --key-only')})

  Ask the built-in provider "demo", which needs no account, and see what was recorded.
    curl -sN ${base}/bridge/demo/v1/messages -H "x-api-key: $AIBRIDGE_KEY" -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -d '{"model":"demo","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    ${run('interceptions list')}

  Add Anthropic, with your key in ANTHROPIC_API_KEY, and point Claude Code at the bridge.
    ${run('providers add anthropic --type anthropic --key-env ANTHROPIC_API_KEY')}
    ANTHROPIC_BASE_URL=${base}/bridge/anthropic ANTHROPIC_AUTH_TOKEN=$AIBRIDGE_KEY claude

  Or an SDK: new Anthropic({ baseURL: '${base}/bridge/anthropic', authToken: process.env.AIBRIDGE_KEY })
`
}

/** Returns a command line that reaches the server at `url`, ready to be pasted into a shell. */
export function commandFor(words: string, url: string, dataDir: string): string {
  const { hostname, port } = new URL(reachable(url))
  const address = { dataDir, host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) }
  return `${invocation()} ${words}${addressFlags(address)}`
}

/** Returns the URL by which this machine reaches a server: the loopback address in place of a wildcard, without a slash at the end. */
function reachable(url: string): string {
  const { hostname, port } = new URL(url)
  const isWildcard = hostname === '0.0.0.0' || hostname === '[::]'
  return isWildcard ? `http://127.0.0.1:${port}` : url.replace(/\/$/, '')
}
