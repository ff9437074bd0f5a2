#!/usr/bin/env bash
# Node hands every request with an `Upgrade` header to the listeners for upgrades as soon as there is one, also requests for other protocols
# than WebSocket (`h2c`: Java's HttpClient asks with each request); no listener for requests is called.
# Versions: Node 20 and newer, without `shouldUpgradeCallback`. Depends on this: server/rpc/upgrade/without-upgrade.ts serves such requests anew.
set -euo pipefail
node --input-type=module <<'JS'
import { createServer } from 'node:http'
import { connect } from 'node:net'

const seen = []
const server = createServer((request, response) => {
  seen.push('request')
  response.end()
})
server.on('upgrade', (request, socket) => {
  seen.push('upgrade')
  socket.destroy()
})
server.listen(0, '127.0.0.1', () => {
  const socket = connect(server.address().port, '127.0.0.1')
  socket.resume()
  socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAAA\r\n\r\n')
  socket.on('error', () => {})
  socket.on('close', () => {
    server.close()
    const holds = seen.join() === 'upgrade'
    console.log(holds ? 'holds' : `listeners called: ${seen.join()}`)
    process.exitCode = holds ? 0 : 1
  })
})
JS
