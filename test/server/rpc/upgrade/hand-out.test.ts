/** Clients whose duplex is handed out: admission as for a served router, and the listener's user as the last judge. */
import { createServer } from 'node:http'
import { describe, expect, it } from 'vitest'
import { type WebSocketDialOptions, webSocketDial } from '../../../../client/rpc/websocket.js'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import type { ErrorReport } from '../../../../server/rpc/responses.js'
import type {
  Credentials,
  DuplexInfo,
  ReversedWebSocketsOptions,
} from '../../../../server/rpc/upgrade/listener-options.js'
import { serveWebSockets } from '../../../../server/rpc/upgrade/websocket-listener.js'
import type { Duplex } from '../../../../shared/rpc/duplex.js'
import { RpcError, transportError } from '../../../../shared/rpc/errors.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { listening } from '../../../fixtures/listening.js'
import { gate, peer } from '../../../fixtures/peer.js'

/** A listener at `/serve` whose user keeps each duplex. */
async function accept(options: Partial<ReversedWebSocketsOptions<unknown>> = {}) {
  const server = createServer()
  const group = options.group ?? new ConnectionGroup()
  const taken: { duplex: Duplex; info: DuplexInfo<unknown> }[] = []
  const reports: ErrorReport[] = []
  const rejections: (string | undefined)[] = []
  const listener = serveWebSockets<unknown>({
    server,
    path: '/serve',
    group,
    onDuplex: (duplex, info) => void taken.push({ duplex, info }),
    onError: report => reports.push(report),
    onRejected: ({ code }) => rejections.push(code),
    ...options,
  })
  const url = `ws://127.0.0.1:${await listening(server, { groups: [group] })}/serve`
  return { group, listener, taken, reports, rejections, url }
}

function dial(options: WebSocketDialOptions): Promise<Duplex> {
  return webSocketDial(options)({ signal: new AbortController().signal })
}

const undecided = ({ signal }: Credentials) =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

const throwing = (error: unknown) => () => Promise.reject(error)

describe('a duplex that is handed out', () => {
  leavesNothing()

  it('a duplex comes with the request and the identity, and carries messages both ways', async () => {
    const { taken, url, group, listener } = await accept({ authenticate: ({ authorization }) => authorization })
    const far = peer(await dial({ url: `${url}?of=ada`, headers: { authorization: 'Bearer a' } }))
    const [one] = taken
    if (!one) throw new Error('no duplex was handed out')
    expect(one.info.identity).toBe('Bearer a')
    expect(one.info.request.url).toBe('/serve?of=ada&batch=1')
    // A message that arrives before the duplex is opened is kept.
    far.send({ id: 1, result: { data: 'early' } })
    one.duplex.send({ id: 1, method: 'query', params: { path: 'x' } })
    expect(await far.until(1)).toMatchObject([{ id: 1, method: 'query' }])
    const near = peer(one.duplex)
    expect(await near.until(1)).toMatchObject([{ id: 1, result: { data: 'early' } }])
    expect({ counted: group.connections, open: listener.connections }).toEqual({ counted: 1, open: 1 })
    one.duplex.close({ code: 1000, message: 'enough' })
    expect(await far.closed).toMatchObject({ code: 1000, message: 'enough' })
    await near.closed
    await expect.poll(() => one.info.signal.reason).toMatchObject({ reason: 'connection_lost' })
    expect(group.connections).toBe(0)
    await expect.poll(() => listener.connections).toBe(0)
  })

  it('a duplex counts in its group until it closes, also if no receiver opens it', async () => {
    const { taken, url, group } = await accept()
    const far = peer(await dial({ url }))
    expect({ taken: taken.length, counted: group.connections }).toEqual({ taken: 1, counted: 1 })
    expect(await group.close()).toEqual({ drained: 0, aborted: 0 })
    expect(await far.closed).toMatchObject({ code: 1001 })
    expect(taken[0]?.info.signal.aborted).toBe(true)
  })

  it.each<[string, unknown, number, string, boolean]>([
    ['UNAUTHORIZED', new RpcError('UNAUTHORIZED', 'no', { mayHaveRun: false }), 4401, 'no', false],
    ['FORBIDDEN', new RpcError('FORBIDDEN', 'not you'), 4403, 'not you', false],
    ['another code', transportError('draining', 'no room'), 1011, 'no room', false],
    ['no RpcError', new Error('secret'), 1011, 'internal server error', true],
  ])('a duplex is closed if its taker throws: %s', async (_, error, code, message, isReported) => {
    const { url, reports, rejections } = await accept({ onDuplex: throwing(error) })
    const far = peer(await dial({ url }))
    expect(await far.closed).toMatchObject({ code, message })
    expect({ isReported: reports.length === 1, rejections: rejections.length }).toEqual({ isReported, rejections: 1 })
  })

  it('a duplex is closed if its taker throws at once', async () => {
    const { url } = await accept({
      onDuplex() {
        throw new RpcError('FORBIDDEN', 'not you')
      },
    })
    expect(await peer(await dial({ url })).closed).toMatchObject({ code: 4403 })
  })
})

describe('a client whose duplex would be handed out is rejected before the upgrade', () => {
  leavesNothing()

  it.each<[string, Partial<ReversedWebSocketsOptions<unknown>>, Partial<WebSocketDialOptions>, object]>([
    [
      'without an identity',
      { authenticate: throwing(new RpcError('UNAUTHORIZED', 'no', {})) },
      {},
      { status: 401, fatal: false },
    ],
    [
      'if it announces connectionParams, with or without a header',
      { authenticate: () => 'anyone' },
      { connectionParams: { authorization: 'Bearer a' }, headers: { authorization: 'Bearer a' } },
      { status: 400, reason: 'config_invalid', fatal: true },
    ],
    ['of another version', { version: { major: 2, minor: 0 } }, {}, { status: 400, reason: 'version_unsupported' }],
    [
      'from a web page',
      {},
      { headers: { origin: 'https://a.example' } },
      { status: 403, reason: 'origin_not_allowed' },
    ],
    ['above maxConnections', { maxConnections: 0 }, {}, { status: 503, reason: 'too_many_connections' }],
    ['that is not decided in time', { authenticate: undecided, handshakeTimeoutMs: 10 }, {}, { status: 503 }],
  ])('%s', async (_, options, dialOptions, expected) => {
    const { taken, url, rejections } = await accept(options)
    await expect(dial({ url, ...dialOptions })).rejects.toMatchObject(expected)
    expect({ taken, rejections: rejections.length }).toEqual({ taken: [], rejections: 1 })
  })

  it('by a draining group, also while its identity is looked up', async () => {
    const asked = gate()
    const { taken, url, group } = await accept({
      authenticate(credentials) {
        asked.open()
        return undecided(credentials)
      },
    })
    const first = expect(dial({ url })).rejects.toMatchObject({ status: 503, reason: 'draining' })
    await asked.passed
    await group.close()
    await first
    await expect(dial({ url })).rejects.toMatchObject({ status: 503, reason: 'draining' })
    expect(taken).toEqual([])
  })

  it.each([
    ['neither', {}],
    ['both', { router: {}, onDuplex: () => {} }],
  ])('a path has a router or onDuplex, and not %s', (_, options) => {
    const wrong = { server: createServer(), path: '/serve', group: new ConnectionGroup(), ...options }
    // Callers without types.
    expect(() => serveWebSockets(wrong as unknown as ReversedWebSocketsOptions)).toThrow(
      expect.objectContaining({ reason: 'config_invalid' }),
    )
  })
})
