import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect as connectSocket, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { initTRPC } from '@trpc/server'
import { describe, expect, it } from 'vitest'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import type { ServeWebSocketsOptions } from '../../../../server/rpc/upgrade/listener-options.js'
import { serveWebSockets } from '../../../../server/rpc/upgrade/websocket-listener.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { listening } from '../../../fixtures/listening.js'

const router = initTRPC.create().router({})
const tls = join(import.meta.dirname, '../../../fixtures/tls')

/** Responds some turns later with everything that it has got, so that pipelined requests overlap. */
const reflect: RequestListener = async (request, response) => {
  let body = ''
  for await (const chunk of request) body += String(chunk)
  const { method, url, httpVersion, headers } = request
  const fields = Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.has(name)))
  for (let turns = Number(headers['x-turns'] ?? 1); turns > 0; turns--)
    await new Promise(resolve => setImmediate(resolve))
  response.sendDate = false
  if (headers['x-last']) response.setHeader('connection', 'close')
  response.setHeader('x-end', '')
  response.end(`${JSON.stringify({ method, url, httpVersion, fields, body })}\n`)
}
const hopByHop = new Set(['connection', 'upgrade', 'http2-settings'])

const kinds = {
  http: { create: createServer, dial: (port: number): Socket => connectSocket(port, '127.0.0.1') },
  https: {
    create: (listener?: RequestListener) =>
      createTlsServer(
        { key: readFileSync(join(tls, 'server.key')), cert: readFileSync(join(tls, 'server.pem')) },
        listener,
      ) as unknown as Server, // the same server, over TLS
    dial: (port: number): Socket => connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }),
  },
}

async function serve(
  kind: keyof typeof kinds,
  listener: RequestListener = reflect,
): Promise<(bytes: string) => Socket> {
  const server = kinds[kind].create(listener)
  const group = new ConnectionGroup()
  serveWebSockets({ server, path: '/rpc', router, group })
  server.on(kind === 'http' ? 'connection' : 'secureConnection', (socket: Socket) => socket.once('close', () => {}))
  const port = await listening(server, { groups: [group], cut: true })
  return bytes => {
    const socket = kinds[kind].dial(port).setEncoding('latin1')
    socket.on('error', () => {})
    socket.write(bytes, 'latin1')
    return socket
  }
}

/** Returns all bytes until the server ends the connection, or has sent so many bodies. */
async function received(socket: Socket, bodies: number): Promise<string> {
  let text = ''
  for await (const chunk of socket) {
    text += chunk
    if (text.split('}\n').length > bodies) break
  }
  socket.destroy()
  return text
}

/** A request with the lines of an upgrade, or the same request without the lines. */
function lines(upgrades: boolean, head: string, connection: string, upgrade: string, body = ''): string {
  const tokens = upgrades ? `Upgrade, ${connection}` : connection
  const fields = [
    ...(tokens ? [`Connection: ${tokens.replace(/, $/, '')}`] : []),
    ...(upgrades ? [`Upgrade: ${upgrade}`] : []),
    ...(body ? [`Content-Length: ${body.length}`] : []),
  ]
  return `${head}\r\nHost: x\r\n${fields.map(field => `${field}\r\n`).join('')}\r\n${body}`
}

type Script = (upgrades: boolean) => string
const h2c = (head: string, body = '', connection = ''): Script => {
  return upgrades => lines(upgrades, head, connection, 'h2c', body)
}
const all = (...scripts: Script[]): Script => {
  return upgrades => scripts.map(script => script(upgrades)).join('')
}
const plain = (head: string): Script => {
  return () => `${head}\r\nHost: x\r\n\r\n`
}

const untilTheEnd = Number.POSITIVE_INFINITY

const scripts: [name: string, script: Script, responses: number][] = [
  ['a request', h2c('GET /a HTTP/1.1'), 1],
  ['a request with a body', h2c('POST /a HTTP/1.1', 'the body'), 1],
  [
    'a request with a body of chunks',
    u => `${h2c('POST /a HTTP/1.1\r\nTransfer-Encoding: chunked')(u)}3\r\nabc\r\n0\r\n\r\n`,
    1,
  ],
  ['a body that is announced', h2c('POST /a HTTP/1.1\r\nExpect: 100-continue', 'the body'), 1],
  ['another protocol', u => lines(u, 'GET /a HTTP/1.1', '', 'TLS/1.0'), 1],
  ['several protocols', u => lines(u, 'GET /a HTTP/1.1', '', 'h2c, TLS/1.0, IRC/6.9'), 1],
  ['a name that contains the name websocket', u => lines(u, 'GET /rpc HTTP/1.1', '', 'websocket2, xwebsocket'), 1],
  ['a WebSocket with another method', u => lines(u, 'POST /rpc HTTP/1.1', '', 'websocket', 'the body'), 1],
  ['a WebSocket over HTTP/1.0', u => lines(u, 'GET /rpc HTTP/1.0', '', 'websocket'), 1],
  [
    'the settings of HTTP/2',
    u =>
      lines(u, `GET /a HTTP/1.1${u ? '\r\nHTTP2-Settings: AAMAAABkAAQAAP__' : ''}`, u ? 'HTTP2-Settings' : '', 'h2c'),
    1,
  ],
  ['Connection: close', h2c('GET /a HTTP/1.1', '', 'close'), 1],
  [
    'Connection: close, with another request behind it',
    all(h2c('GET /a HTTP/1.1', '', 'close'), h2c('GET /b HTTP/1.1')),
    untilTheEnd,
  ],
  [
    'a request behind a response that ends the connection',
    all(plain('GET /a HTTP/1.1\r\nX-Last: yes\r\nX-Turns: 9'), h2c('GET /b HTTP/1.1')),
    untilTheEnd,
  ],
  ['Connection: keep-alive of HTTP/1.0', h2c('GET /a HTTP/1.0', '', 'keep-alive'), 1],
  ['an absolute target', h2c('GET http://x/a?b=c HTTP/1.1'), 1],
  ['the target *', h2c('OPTIONS * HTTP/1.1'), 1],
  ['a field with bytes above 127', h2c('GET /a HTTP/1.1\r\nX-Name: caf\xe9'), 1],
  ['fields of one name', h2c('GET /a HTTP/1.1\r\nX-Name: 1\r\nx-name: 2'), 1],
  ['pipelined requests', all(...'abcdefghijkl'.split('').map(letter => h2c(`GET /${letter} HTTP/1.1`))), 12],
  [
    'pipelined bodies',
    all(...'abcdefghijkl'.split('').map(letter => h2c(`POST /${letter} HTTP/1.1`, letter.repeat(9)))),
    12,
  ],
  [
    'pipelined requests, the first slow',
    all(h2c('GET /a HTTP/1.1\r\nX-Turns: 20'), h2c('GET /b HTTP/1.1'), plain('GET /c HTTP/1.1')),
    3,
  ],
  [
    'requests between plain ones',
    all(plain('GET /a HTTP/1.1'), h2c('POST /b HTTP/1.1', 'body'), plain('GET /c HTTP/1.1'), h2c('GET /d HTTP/1.1')),
    4,
  ],
  [
    'a request behind two slow ones',
    all(plain('GET /a HTTP/1.1\r\nX-Turns: 20'), plain('GET /b HTTP/1.1'), h2c('GET /c HTTP/1.1')),
    3,
  ],
]

describe.each(['http', 'https'] as const)('a request for an upgrade that is not served, over %s', kind => {
  leavesNothing()

  it.each(scripts)(
    '%s: gets the response to the same request without the upgrade',
    async (_name, script, responses) => {
      const send = await serve(kind)
      const expected = await received(send(script(false)), responses)
      if (responses !== untilTheEnd) expect(expected.split('}\n')).toHaveLength(responses + 1)
      expect(await received(send(script(true)), responses)).toBe(expected)
    },
  )

  it('a request in pieces of one byte gets its response', async () => {
    const send = await serve(kind)
    const [script] = [all(h2c('POST /a HTTP/1.1', 'body'), h2c('GET /b HTTP/1.1', '', 'close'))]
    const expected = await received(send(script(false)), 2)
    const socket = send('')
    for (const byte of script(true)) {
      socket.write(byte, 'latin1')
      await new Promise(resolve => setImmediate(resolve))
    }
    expect(await received(socket, 2)).toBe(expected)
  })

  it.each([
    ['one after another', 1],
    ['pipelined', 15],
  ])('a connection keeps no listener and no timeout of the requests before, which came %s', async (_name, together) => {
    const counts: number[] = []
    const timeouts: (number | undefined)[] = []
    const send = await serve(kind, ({ socket, url }, response) => {
      counts.push(socket.eventNames().reduce((sum, name) => sum + socket.listenerCount(name), 0))
      timeouts.push(socket.timeout || undefined)
      setImmediate(() => response.end(`{${url}}\n`))
    })
    const socket = send('')
    for (let index = 0; index < 15; index += together) {
      socket.write(h2c(`GET /${index} HTTP/1.1`)(true).repeat(together))
      while (counts.length < index + together) await once(socket, 'data')
    }
    socket.destroy()
    expect(new Set(counts.slice(1))).toEqual(new Set([counts[1]]))
    expect(new Set(timeouts)).toEqual(new Set([undefined]))
  })

  it('a client that leaves while its request waits for the response before does no harm', async () => {
    const requested: string[] = []
    const begun: (() => void)[] = []
    const send = await serve(kind, ({ url = '', socket }, response) => {
      requested.push(url)
      begun.push(() => socket.destroyed || response.write('more'))
    })
    const socket = send(all(plain('GET /a HTTP/1.1'), h2c('GET /b HTTP/1.1'))(true))
    while (begun.length === 0) await new Promise(resolve => setImmediate(resolve))
    socket.destroy()
    for (let turns = 0; turns < 50; turns++) {
      begun[0]?.()
      await new Promise(resolve => setImmediate(resolve))
    }
    expect(requested).toEqual(['/a'])
  })
})

describe('a request for a WebSocket', () => {
  leavesNothing()
  const key = `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==`

  it.each<[name: string, head: string, upgrade: string, status: number]>([
    ['the name in lower case', 'GET /rpc HTTP/1.1', 'websocket', 101],
    ['the name in mixed case', 'GET /rpc HTTP/1.1', 'WebSocket', 101],
    ['a list with another protocol behind it', 'GET /rpc HTTP/1.1', 'WebSocket, foo', 101],
    ['a list with another protocol before it', 'GET /rpc HTTP/1.1', 'h2c ,  WEBSOCKET', 101],
    ['two fields', 'GET /rpc HTTP/1.1', 'foo/2\r\nUpgrade: websocket', 101],
    ['a query', 'GET /rpc?version=1.0 HTTP/1.1', 'websocket', 101],
    ['an absolute target', 'GET http://x/rpc HTTP/1.1', 'websocket', 101],
    ['an absolute target with port and query', 'GET ws://x:80/rpc?version=1.0 HTTP/1.1', 'websocket, foo', 101],
    ['an absolute target with another path', 'GET http://x/rpc/ HTTP/1.1', 'websocket', 404],
    ['an absolute target without a path', 'GET http://rpc HTTP/1.1', 'websocket', 404],
    ['an absolute target with the path in its query', 'GET http://x?/rpc HTTP/1.1', 'websocket', 404],
    ['another path', 'GET /rpcs HTTP/1.1', 'websocket', 404],
    ['the path as the host', 'GET //rpc HTTP/1.1', 'websocket', 404],
  ])('%s: %s, Upgrade: %s gets %i', async (_name, head, upgrade, status) => {
    const send = await serve('http')
    const socket = send(
      `${head}\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: ${upgrade}\r\n${key}\r\n\r\n`,
    )
    const [first]: unknown[] = await once(socket, 'data')
    socket.destroy()
    expect(String(first).split(' ')[1]).toBe(String(status))
  })

  it('an upgrade behind a response that is under way waits for its turn', async () => {
    const send = await serve('http')
    const upgrade = `GET /rpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${key}\r\n\r\n`
    const socket = send(plain('GET /a HTTP/1.1\r\nX-Turns: 20')(true) + upgrade)
    let text = ''
    for await (const chunk of socket) {
      text += chunk
      if (text.includes('101 ')) break
    }
    expect(text).toMatch(/^HTTP\/1\.1 200 .*}\nHTTP\/1\.1 101 /s)
  })
})

describe('serving WebSockets without a group', () => {
  it('serving WebSockets without a group fails at once', () => {
    const options = { server: createServer(), path: '/rpc', router } as unknown as ServeWebSocketsOptions<typeof router> // an untyped caller
    expect(() => serveWebSockets(options)).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST', reason: 'config_invalid' }),
    )
    expect(options.server.listenerCount('upgrade')).toBe(0)
  })
})
