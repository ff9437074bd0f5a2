/** `GET /` on a control plane: the first steps, as a page for browsers, as text or JSON for other clients. */
import { createHash } from 'node:crypto'
import type { IncomingMessage, RequestListener } from 'node:http'

/**
 * Serves the first steps, without authentication. The response holds fixed words and the address of the request: no
 * secret, no name, no version and no path of this machine. No request is logged.
 * @param ownUrl returns the base URL for a request without a usable `Host`
 */
export function createHomePage(ownUrl: () => string): RequestListener {
  return (request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { ...headers, allow: 'GET, HEAD', 'content-type': 'application/json' })
      return response.end(JSON.stringify({ message: 'only GET and HEAD are served at /' }))
    }
    const base = requestedUrl(request, ownUrl())
    const [type, body] = bodyFor(preferredType(request.headers.accept), base)
    response.writeHead(200, { ...headers, 'content-type': type })
    response.end(body)
  }
}

function bodyFor(type: Type, base: string): [contentType: string, body: string] {
  switch (type) {
    case 'text/html':
      return ['text/html; charset=utf-8', page(base)]
    case 'application/json':
      return ['application/json', JSON.stringify({ name: 'aibridge', message: introduction, ...addressesOf(base) })]
    case 'text/plain':
      return ['text/plain; charset=utf-8', text(base)]
  }
}

type Type = 'text/html' | 'application/json' | 'text/plain'

/**
 * Returns the type that a client accepts: HTML only if the client names HTML, as browsers do and command-line tools do
 * not.
 */
function preferredType(accept = ''): Type {
  const accepted = accept.split(',').flatMap(range => {
    const [type = '', ...parameters] = range.split(';').map(part => part.trim().toLowerCase())
    return parameters.some(parameter => /^q=0(\.0*)?$/.test(parameter)) ? [] : [type]
  })
  return (['text/html', 'application/json'] as const).find(type => accepted.includes(type)) ?? 'text/plain'
}

/**
 * Returns the base URL of the request, from `Host` and, behind a proxy that ends TLS, `X-Forwarded-Proto`. A client
 * influences no response but its own. A `Host` that is neither a host name nor an address is ignored all the same.
 */
export function requestedUrl({ headers }: Pick<IncomingMessage, 'headers'>, ownUrl: string): string {
  const { host = '' } = headers
  const scheme = headers['x-forwarded-proto'] === 'https' ? 'https' : 'http'
  const isHost = /^([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?$/.test(host)
  return isHost && URL.canParse(`${scheme}://${host}`) ? new URL(`${scheme}://${host}`).origin : ownUrl
}

const introduction = 'a gateway for AI models, which gives every request an owner and counts every token'

function addressesOf(base: string) {
  return { anthropic: `${base}/bridge/anthropic`, openai: `${base}/bridge/openai/v1`, ready: `${base}/readyz` }
}

function text(base: string): string {
  const { anthropic, openai } = addressesOf(base)
  return `aibridge, ${introduction}.

AI clients use ${anthropic} or ${openai}, with a key.
Operators use the command aibridge with --url ${base}.
Open ${base} in a browser for the first steps.
`
}

const style = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 46rem; margin: 3rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
pre { overflow-x: auto; padding: .75rem 1rem; border-radius: .4rem; background: light-dark(#f2f3f5, #1d2025) }
code, pre { font: .9rem/1.5 ui-monospace, monospace }
table { border-collapse: collapse }
th, td { padding: .25rem 1.5rem .25rem 0; text-align: left }
p code, td code { overflow-wrap: anywhere }
`

/** No scripts, no foreign resources, no frames. The policy allows the one style by its hash. */
const headers = {
  'content-security-policy': [
    "default-src 'none'",
    `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  vary: 'accept',
}

function page(base: string): string {
  const { anthropic, openai } = addressesOf(base)
  const question = '{"model":"demo","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hello"}]}'
  const commands = [`aibridge users create me --url ${base}`, `aibridge keys create --user me --key-only --url ${base}`]
  const call = [
    `curl -sN ${base}/bridge/demo/v1/messages -H "x-api-key: $AIBRIDGE_KEY" \\`,
    `  -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \\`,
    `  -d '${question}'`,
    `aibridge interceptions list --url ${base}`,
  ]
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>aibridge</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>aibridge</h1>
<p>This is ${introduction}. The server runs at <code>${escaped(base)}</code>.</p>

<h2>1. Make a user and a key</h2>
${block(commands)}
<p>On the server’s machine the commands find the admin token in the data directory. Elsewhere, set <code>BRIDGE_ADMIN_TOKEN</code> to the
content of the server’s file <code>admin-token</code>. In a clone, <code>aibridge</code> is <code>node dist/server/cli.js</code>.</p>

<h2>2. Ask the demo provider</h2>
<p>The provider <code>demo</code> needs no account. Put the key into <code>AIBRIDGE_KEY</code> first.</p>
${block(call)}

<h2>3. Add a provider</h2>
${block([`aibridge providers add anthropic --key-env ANTHROPIC_API_KEY --url ${base}`])}

<h2>4. Point AI clients at the server</h2>
<table>
<tr><th scope="row">Anthropic base URL</th><td><code>${escaped(anthropic)}</code></td></tr>
<tr><th scope="row">OpenAI base URL</th><td><code>${escaped(openai)}</code></td></tr>
</table>
<p>Clients send the key in place of the provider’s. Claude Code:</p>
${block([`ANTHROPIC_BASE_URL=${anthropic} ANTHROPIC_AUTH_TOKEN=$AIBRIDGE_KEY claude`])}

<h2>State of the server</h2>
<p><a href="/readyz">Readiness</a> · <a href="/healthz">Health</a> · <a href="/metrics">Metrics</a></p>
</main>
</body>
</html>
`
}

function block(lines: readonly string[]): string {
  return `<pre><code>${lines.map(escaped).join('\n')}</code></pre>`
}

/** Escapes a text for HTML, in an element or in a quoted attribute. */
function escaped(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
