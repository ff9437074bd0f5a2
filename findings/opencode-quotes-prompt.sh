#!/usr/bin/env bash
# `opencode run "two words"` sends the model the prompt in quotation marks, which the user's shell had removed. Words in
# arguments of their own arrive as they are. A recorded prompt in quotation marks is no fault of a gateway.
# Versions: opencode-ai 1.18.33. Seen: `"Say hello."`, and `Say hello.` for two arguments.
# Depends on this: test/clients/clients.ts gives OpenCode and Kilo each word of the prompt as an argument.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund opencode-ai@1.18.33
cat >finding.mjs <<'JS'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'

const bodies = []
const events = [
  { choices: [{ index: 0, delta: { role: 'assistant', content: 'Hello.' }, finish_reason: null }] },
  { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
]
const chunk = event => ({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', ...event })
const server = createServer(async (request, response) => {
  bodies.push(await json(request))
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.end(`${events.map(event => `data: ${JSON.stringify(chunk(event))}\n\n`).join('')}data: [DONE]\n\n`)
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const options = { baseURL: `http://127.0.0.1:${server.address().port}/v1`, apiKey: 'none' }
const provider = { local: { npm: '@ai-sdk/openai-compatible', options, models: { m: {} } } }

/** Runs OpenCode with these arguments; returns the last text of the conversation's request. */
async function sent(words) {
  bodies.length = 0
  const child = spawn('node_modules/.bin/opencode', ['run', '--model', 'local/m', ...words], {
    env: {
      PATH: process.env.PATH,
      HOME: process.cwd(),
      OPENCODE_CONFIG_CONTENT: JSON.stringify({ provider }),
      OPENCODE_DISABLE_AUTOUPDATE: '1',
      OPENCODE_DISABLE_MODELS_FETCH: '1',
    },
    stdio: 'ignore',
    timeout: 240_000,
  })
  await once(child, 'close')
  const content = bodies.find(body => body.tools?.length > 0)?.messages.at(-1).content
  return typeof content === 'string' ? content : content?.at(-1).text
}

const seen = [await sent(['Say hello.']), await sent(['Say', 'hello.'])]
server.closeAllConnections()
server.close()
const holds = seen[0] === '"Say hello."' && seen[1] === 'Say hello.'
console.log(holds ? 'holds' : `prompts: ${JSON.stringify(seen)}`)
process.exitCode = holds ? 0 : 1
JS
node finding.mjs
