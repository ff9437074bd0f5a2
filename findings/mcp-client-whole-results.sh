#!/usr/bin/env bash
# The official MCP client reads a result by one schema, so that one tool without a name hides all tools of its server. It waits
# for its time limit when the stream of a response has ended without one, leaves the stream of a cancelled request open (older
# protocol), asks a server that has forgotten the session again and again with the old id, and sends no DELETE in close().
# Versions: @modelcontextprotocol/client 2.4.0, Node 20.20. Depends on this: client/bridge/mcp/mcp-session.ts, whose requests are its
# own, on the client's transport. (sdk 1.32.2 had two more: listTools() read one page, and one output pattern hid all tools.)
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >npm.log && npm install --no-audit --no-fund @modelcontextprotocol/client@2.4.0 >>npm.log
cat >finding.mjs <<'JS'
import { createServer } from 'node:http'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

const object = { type: 'object' }
let tools = [{ name: 'good', inputSchema: object }, { inputSchema: object }]
let mode = 'list'
let initialized = 0
let deleted = 0
let closedByClient = false
const server = createServer(async (request, response) => {
  let text = ''
  for await (const chunk of request) text += chunk
  if (request.method === 'DELETE') deleted++
  if (request.method !== 'POST') return response.writeHead(405).end()
  const { id, method, params } = JSON.parse(text)
  if (id === undefined) return response.writeHead(202).end()
  const json = (fields, headers) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify({ jsonrpc: '2.0', id, ...fields }))
  }
  if (method === 'initialize') {
    initialized++
    const result = { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } }
    return json({ result }, { 'mcp-session-id': 'one' })
  }
  if (mode === 'forgotten') return response.writeHead(404).end()
  if (mode === 'list') return json({ result: { tools } })
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.on('close', () => {
    closedByClient = !response.writableFinished
  })
  if (mode === 'ended') response.end(': nothing\n\n')
  else response.write(': nothing\n\n')
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const client = new Client({ name: 'c', version: '1' })
await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${server.address().port}/mcp`)))
const errorOf = promise => promise.then(() => undefined, error => error)
const call = () => errorOf(client.callTool({ name: 'good', arguments: {} }, { timeout: 1_000 }))

const facts = {}
facts['one bad tool hides all'] = (await errorOf(client.listTools())) !== undefined
tools = [{ name: 'good', inputSchema: object }]
mode = 'ended'
const begun = performance.now()
await call()
facts['an ended stream is waited for'] = performance.now() - begun > 900
mode = 'open'
await call()
await new Promise(resolve => setTimeout(resolve, 300))
facts['the stream of a cancelled request stays open'] = !closedByClient
mode = 'forgotten'
await call()
await call()
facts['a forgotten session stays forgotten'] = initialized === 1
await client.close()
await new Promise(resolve => setTimeout(resolve, 100))
facts['close() sends no DELETE'] = deleted === 0
const gone = Object.keys(facts).filter(fact => !facts[fact])
console.log(gone.length === 0 ? 'holds' : `no longer: ${gone.join(', ')}`)
process.exit(gone.length === 0 ? 0 : 1)
JS
node finding.mjs
