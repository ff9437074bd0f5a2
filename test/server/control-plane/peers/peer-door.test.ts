/** The door /peer: the other servers of the database come in, and nobody else. */
import { randomUUID } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { connectPeer } from '../../../../client/peer-connection.js'
import { webSocketDial } from '../../../../client/rpc/websocket.js'
import { createPeerAuthenticator, createPeerToken } from '../../../../server/control-plane/peers/peer-token.js'
import { createSecretBox } from '../../../../server/services/secrets.js'
import { errorReasonOf, errorReasons } from '../../../../shared/contract/error-reasons.js'
import { DialError } from '../../../../shared/rpc/dial-error.js'
import { adminToken, oneStore } from '../../services/running-server.js'
import { connectedTo, createAgent, key, openReplica, type Replica, serveAgent } from './replicas.js'

const store = oneStore()

/** The id of a server's process, as the row of an agent that comes to it names it. */
async function idOf(server: Replica): Promise<string> {
  const { id, name, key: agentKey } = await createAgent(server)
  const { instance, close } = serveAgent(server.url, agentKey)
  await connectedTo(server, name, instance)
  const found = await store().findAgent(id)
  await close()
  return found?.replica ?? ''
}

/** Dials `/peer` with a token; resolves with `open`, or the reason of the rejection. */
async function dialled({ url }: Pick<Replica, 'url'>, token: string, query = ''): Promise<string> {
  const dial = webSocketDial({
    url: `${url.replace('http', 'ws')}/peer${query}`,
    headers: { authorization: `Bearer ${token}` },
    reasons: errorReasons,
  })
  try {
    const duplex = await dial({ signal: AbortSignal.timeout(10_000) })
    const closed = new Promise<void>(onClose => duplex.open({ onMessage() {}, onDrain() {}, onClose: () => onClose() }))
    duplex.close({ code: 1000, message: 'done' })
    await closed
    return 'open'
  } catch (error) {
    if (error instanceof DialError) return errorReasonOf(error) ?? error.reason ?? String(error.status)
    throw error
  }
}

const boxes = { old: [key(7)], both: [key(8), key(7)], fresh: [key(8)], other: [key(9)] }
const tokenOf = (keys: keyof typeof boxes, target: string, now?: number) =>
  createPeerToken(createSecretBox(boxes[keys]), target, now)

describe('the door of servers', () => {
  test.each([
    ['old', 'old', 'open'],
    ['old', 'both', 'open'],
    ['both', 'old', 'open'],
    ['both', 'fresh', 'open'],
    ['fresh', 'both', 'open'],
    ['fresh', 'old', 'key_invalid'],
    ['old', 'other', 'key_invalid'],
  ] as const)('a server with the key %s, dialled with the key %s: %s', async (own, given, outcome) => {
    const server = await openReplica(store(), { config: { encryptionKeys: boxes[own] } })
    expect(await dialled(server, tokenOf(given, await idOf(server)))).toBe(outcome)
  })

  test('keys of agents, daemons and users, the admin token, and tokens of other servers do not open /peer', async () => {
    const server = await openReplica(store())
    const { key: agentKey, username } = await createAgent(server)
    const daemonKey = (await server.admin.daemonKeys.create.mutate({})).key
    const userKey = (await server.admin.apiKeys.create.mutate({ user: username ?? '' })).key
    const wrong = { agentKey, daemonKey, userKey, adminToken, otherServer: tokenOf('old', randomUUID()) }
    for (const [name, token] of Object.entries(wrong)) {
      expect(await dialled(server, token), name).toBe('key_invalid')
    }
    const rejections = server.logger.lines.filter(({ message }) => message === 'a connection was rejected')
    expect(rejections).toHaveLength(5)
    expect(rejections[0]).toMatchObject({ level: 'info', fields: { reason: 'key_invalid', address: '127.0.0.1' } })
    expect(await server.metrics.text()).toContain('rpc_connections_refused_total{reason="key_invalid"} 5')
    for (const secret of [agentKey, userKey, wrong.otherServer]) expect(server.logger.text()).not.toContain(secret)
  })

  test('a page, a client without a header, and one with connectionParams do not come in', async () => {
    const server = await openReplica(store())
    const token = tokenOf('old', await idOf(server))
    expect(await dialled(server, token, '?connectionParams=1')).toBe('config_invalid')
    const statusOf = (headers: Record<string, string>) =>
      new Promise<number | undefined>((resolve, reject) => {
        const socket = new WebSocket(`${server.url.replace('http', 'ws')}/peer`, { headers })
        socket.on('unexpected-response', (_request, response) => {
          resolve(response.statusCode)
          response.destroy()
        })
        socket.on('open', () => reject(new Error('it came in')))
        socket.on('error', () => {})
      })
    expect(await statusOf({ authorization: `Bearer ${token}`, origin: server.url })).toBe(403)
    expect(await statusOf({})).toBe(401)
  })

  test('a server that the others do not reach has no such door', async () => {
    const server = await openReplica(store(), { advertise: false })
    expect(await dialled(server, tokenOf('old', await idOf(server)))).toBe('426')
  })

  test('a peer sends no cookie and no header of a user', async () => {
    const server = await openReplica(store())
    const seen: NodeJS.Dict<string | string[]>[] = []
    const { createServer } = await import('node:http')
    const listener = createServer().on('upgrade', (request, socket) => {
      seen.push(request.headers)
      socket.end('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n')
    })
    await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
    const address = listener.address()
    if (typeof address !== 'object' || !address) throw new Error('it listens on TCP')
    const failed = new Promise(resolve => {
      const peer = connectPeer({
        url: `http://127.0.0.1:${address.port}`,
        token: () => tokenOf('old', randomUUID()),
        onError: resolve,
        onCallEnd: () => {},
      })
      onTestFinished(() => peer.close())
    })
    await failed
    listener.close()
    const own = ['authorization', 'connection', 'host', 'upgrade']
    const names = Object.keys(seen[0] ?? {}).filter(name => !name.startsWith('sec-websocket-'))
    expect(names.sort()).toEqual(own)
    expect(server.logger.lines.filter(({ level }) => level === 'error')).toEqual([])
  })
})

describe('a token', () => {
  const replica = randomUUID()
  const keys = createSecretBox(boxes.old)
  const at = 1_800_000_000_000
  const authenticatorAt = (now: () => number) => {
    const authenticate = createPeerAuthenticator({ keys, replica, now })
    const { signal } = new AbortController()
    return (token: string) =>
      authenticate({
        authorization: `Bearer ${token}`,
        connectionParams: null,
        signal,
        request: undefined as never, // only guards read the request
      }).then(
        () => 'good',
        (error: unknown) => errorReasonOf(error),
      )
  }

  test('a token counts once', async () => {
    const authenticate = authenticatorAt(() => at)
    const [one, two] = [tokenOf('old', replica, at), tokenOf('old', replica, at)]
    expect(one).not.toBe(two)
    expect([await authenticate(one), await authenticate(one), await authenticate(two)]).toEqual([
      'good',
      'key_invalid',
      'good',
    ])
  })

  test.each([
    [-300_000, 'good'],
    [-301_000, 'key_expired'],
    [300_000, 'good'],
    [301_000, 'key_expired'],
  ])('a token whose clock is off by %i ms is %s', async (offMs, outcome) => {
    expect(await authenticatorAt(() => at)(tokenOf('old', replica, at + offMs))).toBe(outcome)
  })

  test('a used token stays used for as long as it could count', async () => {
    let now = at
    const authenticate = authenticatorAt(() => now)
    const token = tokenOf('old', replica, at + 300_000)
    expect(await authenticate(token)).toBe('good')
    for (const laterMs of [299_000, 600_000]) {
      now = at + laterMs
      expect(await authenticate(tokenOf('old', replica, now))).toBe('good')
      expect(await authenticate(token)).toBe('key_invalid')
    }
    now = at + 600_001
    expect(await authenticate(token)).toBe('key_expired')
  })

  test('a changed time, nonce or code makes a token invalid', async () => {
    const authenticate = authenticatorAt(() => at)
    const token = tokenOf('old', replica, at)
    const [seconds = '', nonce = '', mac = ''] = token.split('.')
    const other = (text: string) => (text.startsWith('A') ? 'B' : 'A') + text.slice(1)
    for (const parts of [
      [String(Number(seconds) + 1), nonce, mac],
      [seconds, other(nonce), mac],
      [seconds, nonce, other(mac)],
      [seconds, nonce, mac, mac, mac, mac, mac],
      [seconds, nonce],
    ]) {
      expect(await authenticate(parts.join('.')), parts.join('.')).toBe('key_invalid')
    }
    expect(await authenticate(token)).toBe('good')
  })
})
