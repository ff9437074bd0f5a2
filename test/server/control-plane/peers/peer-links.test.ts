/** The connections of a server to other servers. */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connectPeer, type PeerConnectionOptions } from '../../../../client/peer-connection.js'
import { PeerLinks, type PeerLinksOptions } from '../../../../server/control-plane/peers/peer-links.js'
import { createPeerAuthenticator, createPeerToken } from '../../../../server/control-plane/peers/peer-token.js'
import { openHttpFront } from '../../../../server/http/http-front.js'
import { type PeerContext, peerRouter } from '../../../../server/routers/peer.js'
import { ConnectionGroup } from '../../../../server/rpc/connection-group.js'
import { serveWebSockets } from '../../../../server/rpc/upgrade/websocket-listener.js'
import { Episodes } from '../../../../server/services/chats/episodes.js'
import { createSecretBox } from '../../../../server/services/secrets.js'
import type { Replica } from '../../../../server/store/store.js'
import { apiVersion } from '../../../../shared/contract/version.js'
import { silentLogger } from '../../../../shared/values/log.js'
import { caFile, startTlsProxy } from '../../../fixtures/tls-proxy.js'
import { deferred, recordingLogger } from '../../services/running-server.js'
import { key } from './replicas.js'

const secrets = createSecretBox([key(7)])
const agent = [randomUUID(), randomUUID()] as const
const info = {
  instanceId: agent[1],
  os: 'x',
  home: '/',
  dir: '/',
  startedAt: new Date(0),
  buildVersion: 'test',
}

/** A server that holds one agent, which responds when `release` allows it. */
async function openPeer(release: () => Promise<unknown> = async () => {}) {
  const group = new ConnectionGroup()
  const replica = randomUUID()
  const front = await openHttpFront({
    host: '127.0.0.1',
    port: 0,
    listener: (_request, response) => response.end(),
    webSocketPaths: ['/peer'],
    logger: silentLogger,
  })
  const heldAgents: PeerContext['heldAgents'] = {
    async callHeld(_agent, call, work) {
      await release()
      const unused = () => Promise.reject(new Error('not scripted'))
      const host = { start: unused, output: unused, list: unused, signal: unused, cancel: unused }
      return work({ ...host, info: async () => info }, call)
    },
  }
  serveWebSockets({
    server: front.server,
    path: '/peer',
    group,
    version: apiVersion,
    router: peerRouter,
    authenticate: createPeerAuthenticator({ keys: secrets, replica }),
    createContext: () => ({ heldAgents, liveParts: new Episodes() }),
  })
  let closed: Promise<unknown> | undefined
  const close = () => {
    closed ??= Promise.all([group.close({ graceMs: 0 }), front.close(0)])
    return closed
  }
  onTestFinished(async () => void (await close()))
  return { group, close, row: { id: replica, advertiseUrl: front.url } }
}

function openLinks(options: Partial<PeerLinksOptions> = {}, tls?: PeerConnectionOptions['tls']) {
  const logger = recordingLogger()
  const links = new PeerLinks({
    connectPeer: dial => connectPeer({ ...dial, tls }),
    createToken: target => createPeerToken(secrets, target),
    logger,
    ...options,
  })
  onTestFinished(() => links.close())
  const ask = (row: Replica, signal?: AbortSignal) => links.agentHost(row, ...agent).info({ signal })
  return { links, logger, ask }
}

describe('connections to other servers', () => {
  test('all calls to a server share one connection, which closes when none has come for a while', async () => {
    const dials: string[] = []
    const createToken = (target: string) => {
      dials.push(target)
      return createPeerToken(secrets, target)
    }
    const { links, ask } = openLinks({ idleMs: 1, createToken })
    const gate = deferred<void>()
    const [one, two] = [await openPeer(() => gate.promise), await openPeer(() => gate.promise)]
    expect(links.connections).toBe(0)
    const asked = Promise.all([ask(one.row), ask(one.row), ask(two.row)])
    await expect.poll(() => [one.group.calls, two.group.calls, links.connections]).toEqual([2, 1, 2])
    gate.resolve()
    expect(await asked).toEqual([info, info, info])
    await expect.poll(() => one.group.connections + two.group.connections).toBe(0)
    expect(await ask(one.row)).toEqual(info)
    expect(dials).toEqual([one.row.id, two.row.id, one.row.id])
  })

  test('a server that is gone is not dialled without a call, and a call to it waits', async () => {
    const { links, ask, logger } = openLinks()
    const peer = await openPeer()
    await ask(peer.row)
    expect(links.connections).toBe(1)
    await peer.close()
    await expect.poll(() => links.connections).toBe(0)
    const dials = () => logger.lines.filter(({ message }) => message === 'the link to another server failed').length
    const before = dials()
    const caller = new AbortController()
    const call = ask(peer.row, caller.signal)
    await expect.poll(dials).toBeGreaterThan(before)
    caller.abort()
    await expect(call).rejects.toMatchObject({ mayHaveRun: false })
  })

  test('a connection that is lost during a call is dialled again, and the call has its response', async () => {
    let asked = 0
    const { ask } = openLinks()
    const peer = await openPeer(async () => {
      if (++asked === 1) for (const socket of sockets) socket.destroy()
    })
    const { createServer, connect } = await import('node:net')
    const sockets = new Set<import('node:net').Socket>()
    const proxy = createServer(near => {
      const far = connect(Number(new URL(peer.row.advertiseUrl).port), '127.0.0.1')
      for (const socket of [near, far]) {
        sockets.add(socket)
        socket.on('error', () => {})
      }
      near.pipe(far).pipe(near)
    })
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      proxy.close()
      for (const socket of sockets) socket.destroy()
    })
    const address = proxy.address()
    if (typeof address !== 'object' || !address) throw new Error('it listens on TCP')
    expect(await ask({ ...peer.row, advertiseUrl: `http://127.0.0.1:${address.port}` })).toEqual(info)
    expect(asked).toBe(2)
  })

  test('a server that rejects this one fails the call, and is dialled anew by the next', async () => {
    const { ask } = openLinks()
    const peer = await openPeer()
    const wrong = { id: randomUUID(), advertiseUrl: peer.row.advertiseUrl }
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(ask(wrong)).rejects.toMatchObject({ reason: 'connection_closed', mayHaveRun: false })
    }
    expect(await ask(peer.row)).toEqual(info)
  })

  test('a server behind TLS is called with its own certificate authority', async () => {
    const peer = await openPeer()
    const advertiseUrl = await startTlsProxy({ port: Number(new URL(peer.row.advertiseUrl).port), path: '/far' })
    const { ask } = openLinks({}, { ca: readFileSync(caFile, 'utf8') })
    expect(await ask({ id: peer.row.id, advertiseUrl })).toEqual(info)
  })

  test('a server behind TLS is not called with another authority, and the log has the cause', async () => {
    const peer = await openPeer()
    const advertiseUrl = await startTlsProxy({ port: Number(new URL(peer.row.advertiseUrl).port) })
    const { ask, logger } = openLinks()
    const caller = new AbortController()
    const call = ask({ id: peer.row.id, advertiseUrl }, caller.signal)
    await expect.poll(() => logger.lines).toHaveLength(1)
    const [line] = logger.lines
    expect(line).toMatchObject({ level: 'warn', fields: { url: advertiseUrl } })
    expect(logger.text()).toMatch(/unable to verify the first certificate/)
    caller.abort()
    await expect(call).rejects.toMatchObject({ mayHaveRun: false })
    expect(peer.group.connections).toBe(0)
  })
})
