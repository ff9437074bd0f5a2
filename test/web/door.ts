/**
 * The doors of the page, in front of a server: its files, the session, and the WebSocket with the session's cookie.
 */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http'
import { type AddressInfo, connect as connectSocket, type Socket } from 'node:net'
import { extname, join } from 'node:path'

export const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.html': 'text/html; charset=utf-8',
}

interface Options {
  /** base URL of the server */
  target: string
  adminToken: string
  folder: string
  port?: number
}

/** Opens the doors. */
export async function openDoor({ target, adminToken, folder, port: wanted = 0 }: Options) {
  const sessions = new Map<string, { role: string; key: string; username: string; userId: string | null }>()
  const sockets = new Set<Socket>()
  const { port } = new URL(target)

  const sessionOf = ({ headers }: IncomingMessage) =>
    sessions.get(/aibridge_session=([\w-]+)/.exec(headers.cookie ?? '')?.[1] ?? '')

  const json = (response: ServerResponse, status: number, body: unknown, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? '/', target).pathname
    if (path === '/session') {
      const session = sessionOf(request)
      if (request.method === 'GET') {
        if (!session) return json(response, 401, { message: 'no session' })
        const { key: _, ...shown } = session
        return json(response, 200, { ...shown, expiresAt: null })
      }
      if (request.method === 'DELETE') {
        for (const [token, one] of sessions) if (one === session) sessions.delete(token)
        for (const socket of sockets) socket.destroy()
        return void response.writeHead(204).end()
      }
      let text = ''
      for await (const chunk of request) text += chunk
      const { key } = JSON.parse(text)
      if (key !== adminToken) return json(response, 401, { message: 'the key is not valid' })
      const token = randomBytes(16).toString('hex')
      sessions.set(token, { role: 'admin', key, username: 'admin', userId: null })
      return json(
        response,
        200,
        { role: 'admin', username: 'admin', userId: null, expiresAt: null },
        { 'set-cookie': `aibridge_session=${token}; HttpOnly; SameSite=Strict; Path=/` },
      )
    }
    if (path.startsWith('/bridge/')) {
      const forwarded = sendRequest({
        host: '127.0.0.1',
        port,
        path: request.url,
        method: request.method,
        headers: request.headers,
      })
      forwarded.on('response', answer => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      })
      return void request.pipe(forwarded)
    }
    const name = path.startsWith('/assets/') ? path : '/index.html'
    try {
      const content = await readFile(join(folder, name))
      response.writeHead(200, {
        'content-type': types[extname(name)] ?? 'application/octet-stream',
        'content-security-policy': policy,
        'x-content-type-options': 'nosniff',
      })
      response.end(content)
    } catch {
      response.writeHead(404).end()
    }
  }

  const server = createServer((request, response) => void serve(request, response))
  server.on('upgrade', (request, socket: Socket) => {
    const session = sessionOf(request)
    if (!session) return void socket.end('HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n')
    const onward = connectSocket(Number(port), '127.0.0.1')
    const headers = Object.entries(request.headers)
      .filter(([name]) => !['origin', 'cookie', 'host'].includes(name))
      .map(([name, value]) => `${name}: ${value}`)
    onward.write(
      `GET ${request.url} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${session.key}\r\n${headers.join('\r\n')}\r\n\r\n`,
    )
    socket.pipe(onward).pipe(socket)
    for (const one of [socket, onward]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        socket.destroy()
        onward.destroy()
      })
    }
  })
  await new Promise<void>(resolve => server.listen(wanted, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens on TCP
    /** Cuts all WebSockets as a lost network would. */
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    close: () =>
      new Promise<void>(resolve => {
        for (const socket of sockets) socket.destroy()
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
