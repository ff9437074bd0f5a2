/** The floor of every gateway on Node: `node:http` and undici, bytes passed on, nothing read. */
import { createServer } from 'node:http'
import { Agent } from 'undici'
import { listenOnLoopback } from './loopback.js'

const [upstream = ''] = process.argv.slice(2)
const agent = new Agent()

const server = createServer((request, response) => {
  const { host, connection, ...headers } = request.headers
  const options = { origin: upstream, path: request.url ?? '/', method: 'POST' as const, headers, body: request }
  agent
    .stream(options, ({ statusCode, headers: { connection, 'transfer-encoding': coding, ...passed } }) =>
      response.writeHead(statusCode, passed),
    )
    .catch(() => response.destroy())
})

process.on('disconnect', () => process.exit())
process.send?.(await listenOnLoopback(server))
