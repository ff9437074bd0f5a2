/** Guessed admin tokens and daemon keys at the door of the RPC, before and after the upgrade. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createServerMetrics } from '../../../server/metrics/prometheus.js'
import { adminToken, oneStore, type Running, startServer } from '../services/running-server.js'

const store = oneStore()

async function listen(
  trustedProxies: string[] = [],
): Promise<Running & { url: string; metrics: () => Promise<string> }> {
  const metrics = createServerMetrics()
  const running = await startServer(store(), { trustedProxies }, undefined, metrics)
  const { url } = await running.server.listen({ host: '127.0.0.1', port: 0 })
  return { ...running, url: url.replace('http', 'ws'), metrics: metrics.text }
}

/** Returns the HTTP status, or that of the error after the upgrade; 101 if the peer is accepted. */
type Door = (url: string, authorization: string, headers?: Record<string, string>) => Promise<number>

const inHeader: Door = async (url, authorization, headers = {}) => {
  const socket = new WebSocket(`${url}/rpc`, { headers: { authorization, ...headers } })
  socket.on('error', () => {})
  const status = await Promise.race([
    once(socket, 'unexpected-response').then(([, response]) => response.statusCode),
    once(socket, 'open').then(() => 101),
  ])
  socket.terminate()
  return status
}

const inFirstFrame: Door = async (url, authorization, headers = {}) => {
  const socket = new WebSocket(`${url}/rpc?connectionParams=1`, { headers })
  await once(socket, 'open')
  socket.send(JSON.stringify({ method: 'connectionParams', data: { authorization } }))
  socket.send(JSON.stringify({ id: 1, method: 'query', params: { path: 'admin.users.list' } }))
  const [data] = await once(socket, 'message')
  socket.terminate()
  const { error } = JSON.parse(String(data))
  return (error?.json ?? error)?.data.httpStatus ?? 101
}

const guessedToken = (number: number) => `Bearer guess-number-${number}-of-the-token`
const guessedKey = (number: number) => `Bearer ${String(number).padStart(10, '0')}-${'b'.repeat(22)}`

/** Keys that are guessed at once: more than are looked at in a second, or wait for the next one. */
const crowd = 180

test.each<[name: string, token: (number: number) => string, Door]>([
  ['admin tokens in headers', guessedToken, inHeader],
  ['daemon keys in headers', guessedKey, inHeader],
  ['admin tokens in first frames', guessedToken, inFirstFrame],
])('of many guessed %s at once few are looked at, and few are logged', async (_, guess, door) => {
  const { url, logger, metrics } = await listen()
  const startedAt = performance.now()
  const statuses = await Promise.all(Array.from({ length: crowd }, (_, number) => door(url, guess(number))))
  const seconds = (performance.now() - startedAt) / 1_000
  const [looked = 0, rejected = 0] = [401, 429].map(status => statuses.filter(seen => seen === status).length)
  expect(looked + rejected).toBe(crowd)
  expect(looked).toBeLessThan(64 * (seconds + 1) + 2)
  const lines = logger.lines.filter(({ message }) => message === 'a connection was rejected')
  expect(lines.length).toBeLessThan(seconds + 20)
  expect(lines[0]).toMatchObject({ level: 'info', fields: { reason: 'key_invalid', address: '127.0.0.1' } })
  expect(logger.text()).not.toContain(guess(7).slice(7))
  const counted = `rpc_connections_refused_total{reason="TOO_MANY_REQUESTS"} ${rejected}`
  if (rejected > 0) expect(await metrics()).toContain(counted)
})

test('the admin is let in during guesses of the same address, if the admin was there before', async () => {
  const { url } = await listen()
  expect(await inHeader(url, `Bearer ${adminToken}`)).toBe(101)
  const guesses = Array.from({ length: 100 }, (_, number) => inHeader(url, guessedToken(number)))
  for (const door of [inHeader, inFirstFrame]) expect(await door(url, `Bearer ${adminToken}`)).toBe(101)
  await Promise.all(guesses)
})

test('behind a trusted proxy each client has guesses of its own, and only its last address counts', async () => {
  const { url, logger } = await listen(['127.0.0.1'])
  const guess = (number: number, forwarded: string) =>
    inHeader(url, guessedToken(number), { 'x-forwarded-for': forwarded })
  for (let number = 0; number < 4; number++) await guess(number, `198.51.100.${number}, 192.0.2.1`)
  const startedAt = performance.now()
  await guess(4, '192.0.2.2')
  const other = performance.now() - startedAt
  await guess(5, '192.0.2.1')
  expect(performance.now() - startedAt - other).toBeGreaterThan(390)
  expect(other).toBeLessThan(390)
  expect(logger.lines.map(({ fields }) => Reflect.get(fields, 'address'))).toEqual([
    ...Array<string>(4).fill('192.0.2.1'),
    '192.0.2.2',
    '192.0.2.1',
  ])
})

test('one client behind a trusted proxy gets half of the places without a key, and another one finds a place', async () => {
  const { url } = await listen(['127.0.0.1'])
  const { hostname, port } = new URL(url)
  const sockets: Socket[] = []
  /** Returns the status of an upgrade of a client that has sent no key yet. */
  const dial = async (client: string): Promise<number> => {
    const socket = connect(Number(port), hostname)
    sockets.push(socket)
    socket.write(
      `GET /rpc?connectionParams=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: ${client}\r\n\r\n`,
    )
    const [head] = await once(socket, 'data')
    return Number(String(head).split(' ')[1])
  }
  // Addresses of one network of IPv6 are one.
  const statuses = await Promise.all(
    Array.from({ length: 510 }, (_, number) => dial(`2001:db8::${number.toString(16)}`)),
  )
  expect(statuses.filter(status => status === 101)).toHaveLength(500)
  expect(new Set(statuses)).toEqual(new Set([101, 503]))
  expect(await dial('2001:db8:0:1::1')).toBe(101)
  for (const socket of sockets) socket.destroy()
})
