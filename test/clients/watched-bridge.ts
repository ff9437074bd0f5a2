/** A transparent relay in front of the bridge that notes every response that is an error, with the request's route. */
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { type Listening, listen } from './loopback.js'

export interface WatchedBridge extends Listening {
  /** Returns the errors since the last call, as `401 GET /bridge/…`, each with its count. */
  take(): string[]
}

/** Starts the relay in front of a bridge. */
export async function watchBridge(url: string): Promise<WatchedBridge> {
  const counts = new Map<string, number>()
  const note = (status: number | undefined, { method, url = '' }: IncomingMessage, kind = ''): void => {
    if (status !== undefined && status < 400) return
    const line = `${status} ${method} ${url.replace(/\?.*$/s, '')}${kind}`
    counts.set(line, (counts.get(line) ?? 0) + 1)
  }
  const server = createServer((request, response) => {
    const { method, rawHeaders } = request
    const onwards = httpRequest(new URL(request.url ?? '', url), { method, headers: rawHeaders }, answer => {
      note(answer.statusCode, request)
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(response)
      answer.on('error', () => response.destroy())
    })
    onwards.on('error', () => response.destroy())
    response.on('close', () => onwards.destroy())
    request.pipe(onwards)
  })
  server.on('upgrade', (request, socket, head: Buffer) => {
    const { hostname, port } = new URL(url)
    const onwards = connect(Number(port), hostname)
    const { method, url: target, rawHeaders } = request
    const lines = rawHeaders.flatMap((name, index) => (index % 2 === 0 ? [`${name}: ${rawHeaders[index + 1]}`] : []))
    onwards.write(`${[`${method} ${target} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`)
    onwards.write(head)
    onwards.once('data', (data: Buffer) => {
      note(Number(/^HTTP\/1\.1 (\d+)/.exec(data.toString('latin1'))?.[1]), request, ' (upgrade)')
    })
    socket.on('error', () => onwards.destroy())
    onwards.on('error', () => socket.destroy())
    socket.pipe(onwards).pipe(socket)
  })
  return {
    ...(await listen(server)),
    take() {
      const lines = [...counts].map(([line, count]) => `${line} × ${count}`)
      counts.clear()
      return lines.sort()
    },
  }
}
