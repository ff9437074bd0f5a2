#!/usr/bin/env bash
# A server may send `100 Continue` to a request that did not ask for it, and a client has to parse it and go on
# (RFC 9110, section 15.2). undici drops a 103 and gives the 200 behind it, but fails the request at a 100.
# Version: undici 7.30.2. Seen: `bad response` (UND_ERR_SOCKET) for 100, status 200 for 103; Node's own
# `http` client gives the 200 in both cases.
# Depends on this: the bridge drops 1xx responses before undici parses them.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund undici@7.30.2
cat >finding.mjs <<'JS'
import { once } from 'node:events'
import http from 'node:http'
import { createServer } from 'node:net'
import { request } from 'undici'

/** Answers one request with an interim response of this status, then with 200. */
async function serve(interim) {
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(`HTTP/1.1 ${interim} Interim\r\n\r\n`)
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${server.address().port}/`, server }
}

async function withUndici(interim) {
  const { url, server } = await serve(interim)
  const seen = await request(url).then(
    async ({ statusCode, body }) => `${statusCode} ${await body.text()}`,
    error => `${error.message} (${error.code})`,
  )
  server.close()
  return seen
}

async function withNode(interim) {
  const { url, server } = await serve(interim)
  const [response] = await once(http.get(url), 'response')
  response.resume()
  server.close()
  return String(response.statusCode)
}

const seen = { undici: [await withUndici(100), await withUndici(103)], node: [await withNode(100), await withNode(103)] }
const holds = JSON.stringify(seen) === JSON.stringify({ undici: ['bad response (UND_ERR_SOCKET)', '200 ok'], node: ['200', '200'] })
console.log(holds ? 'holds' : `seen: ${JSON.stringify(seen)}`)
process.exitCode = holds ? 0 : 1
JS
node finding.mjs
