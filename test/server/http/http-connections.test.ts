/**
 * Connections that send no valid request, or half of one, and clients that read no response. A hostile client is a
 * script of bytes.
 */
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type HttpFront, openHttpFront } from '../../../server/http/http-front.js'
import { createRoutes } from '../../../server/http/http-routes.js'
import { silentLogger } from '../../../shared/values/log.js'
import { anthropicProvider, openaiProvider, startBridge } from '../../client/bridge/running-bridge.js'
import { scriptedControlPlane, testKey } from '../../client/bridge/scripted-control-plane.js'
import { eventually } from '../../fixtures/eventually.js'
import { startProvider } from '../../fixtures/provider.js'

const stop: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of stop.splice(0).reverse()) await close()
})

async function listen(listener: RequestListener, times = { restMs: 30_000, stallMs: 300_000 }): Promise<HttpFront> {
  const front = await openHttpFront({ host: '127.0.0.1', port: 0, listener, logger: silentLogger, times })
  stop.push(() => front.close(0))
  return front
}

/** A server with a bridge, as `serve` and `daemon` run it. */
async function listenWithBridge(): Promise<HttpFront> {
  const provider = await startProvider()
  const bridge = await startBridge(
    scriptedControlPlane([anthropicProvider(provider.url), openaiProvider(provider.url)]),
  )
  stop.push(provider.close, bridge.close)
  return listen(
    createRoutes({
      mounts: { '/bridge/': bridge.daemon.handler },
      readiness: async () => ({}),
      isClosing: () => false,
      logger: silentLogger,
    }),
  )
}

function dial({ url }: HttpFront): Socket {
  return connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
}

/** Sends bytes, and returns everything that the server sends until it ends the connection. */
async function responseTo(front: HttpFront, bytes: string): Promise<string> {
  const socket = dial(front)
  socket.write(bytes, 'latin1')
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  await once(socket, 'end')
  socket.destroy()
  return text
}

const paths = ['/healthz', '/rpc', '/nothing', '/bridge/anthropic/v1/messages', '/bridge/openai/v1/chat/completions']
const chunked = 'Transfer-Encoding: chunked\r\n\r\n'

/** The end of a request → the status of the response. */
const invalid: readonly [name: string, rest: string, status: number][] = [
  ['an unknown transfer coding', 'Transfer-Encoding: x\r\n\r\nabc', 501],
  ['gzip', 'Transfer-Encoding: gzip\r\n\r\nabc', 501],
  ['gzip, then chunks', 'Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n', 501],
  ['the coding identity', 'Transfer-Encoding: identity\r\n\r\nabc', 501],
  ['an empty coding', 'Transfer-Encoding: \r\n\r\nabc', 501],
  ['chunks, then gzip', 'Transfer-Encoding: chunked, gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n', 400],
  ['chunks twice', `Transfer-Encoding: chunked\r\n${chunked}3\r\nabc\r\n0\r\n\r\n`, 400],
  ['chunks and a length', `Content-Length: 3\r\n${chunked}3\r\nabc\r\n0\r\n\r\n`, 400],
  ['two lengths', 'Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd', 400],
  ['a negative length', 'Content-Length: -3\r\n\r\nabc', 400],
  ['a length above 2^64', 'Content-Length: 99999999999999999999999\r\n\r\nabc', 400],
  ['a folded header', 'X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}', 400],
  ['a blank before a colon', 'X-A : b\r\nContent-Length: 2\r\n\r\n{}', 400],
  ['a zero byte in a header', 'X-A: b\0c\r\nContent-Length: 2\r\n\r\n{}', 400],
  ['a header above 16 KiB', `X-A: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
]

/** Bodies whose fault shows behind a valid head: the response to the request may have begun. */
const invalidBodies: readonly [name: string, rest: string][] = [
  ['a chunk size that is no number', `${chunked}zz\r\nabc\r\n0\r\n\r\n`],
  ['a chunk size above 2^64', `${chunked}fffffffffffffffff\r\nabc`],
  ['a chunk that is longer than its size', `${chunked}3\r\nabcdef\r\n0\r\n\r\n`],
  ['a chunk extension above 16 KiB', `${chunked}3;${'a'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`],
  ['a trailer without a colon', `${chunked}3\r\nabc\r\n0\r\nbad trailer\r\n\r\n`],
]

const head = (path: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: ${testKey}\r\n`

describe('a request with', () => {
  test.each(invalid)('%s gets one response in JSON, and the connection ends', async (_, rest, status) => {
    const front = await listenWithBridge()
    for (const path of paths) {
      const response = await responseTo(front, head(path) + rest)
      expect([path, response]).toEqual([path, expect.stringMatching(new RegExp(`^HTTP/1\\.1 ${status} `))])
      expect(response.match(/HTTP\/1\.1/g)).toHaveLength(1)
      expect(response.toLowerCase()).toContain('connection: close\r\n')
      expect(JSON.parse(response.slice(response.indexOf('\r\n\r\n')))).toEqual({ message: expect.any(String) })
    }
  })

  test.each(invalidBodies)('%s gets one response, and the connection ends', async (_, rest) => {
    const front = await listenWithBridge()
    for (const path of paths) {
      const response = await responseTo(front, head(path) + rest)
      expect([path, response]).toEqual([path, expect.stringMatching(/^HTTP\/1\.1 \d{3} /)])
      if (path.includes('messages') || path.includes('completions')) expect(response).toMatch(/^HTTP\/1\.1 400 /)
      expect(response.match(/HTTP\/1\.1/g)).toHaveLength(1)
    }
  })
})

test('bytes that are no request end the connection behind the responses to the requests before', async () => {
  let answer = () => {}
  const front = await listen((_, response) => {
    answer = () => response.end('first')
  })
  const responses = responseTo(front, 'GET / HTTP/1.1\r\nHost: x\r\n\r\nno request\r\n\r\n')
  await eventually(() => expect(String(answer)).toContain('first'))
  answer()
  expect(await responses).toMatch(/^HTTP\/1\.1 200 .*first.*HTTP\/1\.1 400 Bad Request/s)
})

test('a broken body inside the response to it cuts the response off', async () => {
  const front = await listen((_, response) => response.writeHead(200).write('part'))
  const socket = dial(front)
  socket.write(head('/') + chunked)
  await once(socket, 'data')
  socket.write('zz\r\n')
  expect(await new Promise(resolve => socket.once('data', resolve).once('close', () => resolve('closed')))).toBe(
    'closed',
  )
})

test('half a request whose response is complete holds its connection for restMs and no longer', async () => {
  const front = await listen((_, response) => response.end('early'), { restMs: 20, stallMs: 300_000 })
  const socket = dial(front)
  socket.write(`${head('/')}Content-Length: 100\r\n\r\nhalf`)
  await once(socket, 'data')
  await once(socket, 'close')
})

test('a client that sends the rest of its request in time keeps its connection', async () => {
  const front = await listen((_, response) => response.end('early'), { restMs: 20, stallMs: 300_000 })
  const socket = dial(front)
  socket.write(`${head('/')}Content-Length: 100\r\n\r\nhalf`)
  await once(socket, 'data')
  socket.write('y'.repeat(96))
  await new Promise(resolve => setTimeout(resolve, 40))
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(String(await once(socket, 'data'))).toContain('early')
  socket.destroy()
})

test('a client that takes no byte of a response for stallMs is cut off, and one that reads slowly is not', async () => {
  const body = Buffer.alloc(16 * 1024 * 1024)
  const closed: string[] = []
  const front = await listen(
    (request, response) => {
      response.once('close', () => closed.push(request.url ?? ''))
      response.end(body)
    },
    { restMs: 30_000, stallMs: 200 },
  )
  const [silent, slow] = [dial(front), dial(front)]
  silent.pause()
  slow.pause()
  silent.write('GET /silent HTTP/1.1\r\nHost: x\r\n\r\n')
  slow.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
  const reading = setInterval(() => slow.read(128 * 1024), 10)
  await eventually(() => expect(closed).toContain('/silent'))
  expect(closed).not.toContain('/slow')
  clearInterval(reading)
  for (const socket of [silent, slow]) socket.destroy()
})
