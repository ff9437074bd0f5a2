#!/usr/bin/env bash
# Codex' built-in provider first asks for a WebSocket at `GET /responses`. Status 426 makes Codex fall back to HTTP at
# once. After a 404 Codex retries for about seven seconds, in every new process, before the first request over HTTP.
# Versions: Codex 0.171.0 with `openai_base_url`. Seen: one attempt with 426, seven with 404.
# Depends on this: the bridge must reject WebSockets on recorded routes with 426.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @openai/codex@0.171.0
cat >finding.mjs <<'JS'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'

const item = { type: 'message', id: 'msg_1', role: 'assistant', content: [{ type: 'output_text', text: 'Hello.' }] }
const events = [
  { type: 'response.created', response: { id: 'resp_1' } },
  { type: 'response.output_item.done', output_index: 0, item },
  { type: 'response.completed', response: { id: 'resp_1', output: [item], usage: null } },
]
const stream = events.map(event => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')

/** Runs Codex once against a server that rejects WebSockets with this status; returns the attempts. */
async function attempts(status) {
  let count = 0
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(stream)
  })
  server.on('upgrade', (_request, socket) => {
    count++
    socket.end(`HTTP/1.1 ${status} Rejected\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `openai_base_url="http://127.0.0.1:${server.address().port}/v1"`
  const options = ['--skip-git-repo-check', '--model', 'gpt-5.5', '-c', base, '-c', 'analytics.enabled=false']
  const child = spawn('node_modules/.bin/codex', ['exec', ...options, 'Say hello.'], {
    env: { PATH: process.env.PATH, HOME: process.cwd(), CODEX_API_KEY: 'none' },
    stdio: 'ignore',
    timeout: 120_000,
  })
  const [code] = await once(child, 'close')
  server.closeAllConnections()
  server.close()
  if (code !== 0) throw new Error(`codex ended with ${code}`)
  return count
}

const seen = { 404: await attempts(404), 426: await attempts(426) }
const holds = seen[426] === 1 && seen[404] > 1
console.log(holds ? 'holds' : `attempts by status: ${JSON.stringify(seen)}`)
process.exitCode = holds ? 0 : 1
JS
node finding.mjs
