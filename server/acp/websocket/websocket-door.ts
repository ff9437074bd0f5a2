/** The upgrades of one path: checked before they are granted. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { RpcError } from '../../../shared/rpc/errors.js'
import { type DuplexServer, duplexServer } from '../../../shared/rpc/links/duplex-socket.js'
import { UpgradeHandshake } from '../../rpc/upgrade/upgrade-handshake.js'
import { listenersOf, type PathListener, removeListener } from '../../rpc/upgrade/upgrade-paths.js'
import { rejectUpgrade } from '../../rpc/upgrade/upgrade-rejection.js'
import type { Connections } from '../connection/connections.js'
import { identify } from '../connection/identify.js'
import { connectionHeader, replicaCookie } from '../http/headers.js'
import { checkOrigin } from '../http/origins.js'
import type { AcpIdentity, AcpSettings } from '../options.js'
import { AcpSocket } from './acp-socket.js'

export class WebSocketDoor<I extends AcpIdentity> implements PathListener {
  readonly leavesOthers: boolean
  readonly #settings: AcpSettings<I>
  readonly #connections: Connections<I>
  readonly #server: DuplexServer
  /** of the upgrade that is being granted */
  #connectionId = ''

  constructor(settings: AcpSettings<I>, connections: Connections<I>) {
    this.#settings = settings
    this.#connections = connections
    this.leavesOthers = settings.otherUpgrades === 'leave'
    const options = { noServer: true, clientTracking: false, maxPayload: settings.limits.maxMessageBytes }
    this.#server = duplexServer(settings.limits, options)
    this.#server.on('headers', headers => {
      const { replicaId, path } = settings
      headers.push(`${connectionHeader}: ${this.#connectionId}`, `Set-Cookie: ${replicaCookie(replicaId, path)}`)
    })
    // `ws` itself finds a fault in the upgrade.
    this.#server.on('wsClientError', (error, socket) => {
      rejectUpgrade(socket as Socket, new RpcError('BAD_REQUEST', error.message)) // the socket that `ws` was given
    })
  }

  /** @throws RpcError `BAD_REQUEST` if the path is served already */
  start(): void {
    const { server, path } = this.#settings
    const listeners = listenersOf(server)
    if (listeners.has(path)) throw new RpcError('BAD_REQUEST', `${path} is served already`)
    listeners.set(path, this)
  }

  stop(): void {
    removeListener(this.#settings.server, this.#settings.path, this)
  }

  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    // `ws` takes no list of protocols.
    request.headers.upgrade = 'websocket'
    const { times, group, observer, allowedOrigins } = this.#settings
    const handshake = new UpgradeHandshake(socket, times.handshakeTimeoutMs, error => observer.rejected?.(error))
    try {
      group.add(handshake)
      checkOrigin(request, allowedOrigins)
    } catch (error) {
      return handshake.reject(error)
    }
    void this.#open(request, socket, head, handshake)
  }

  /** Never rejects. */
  async #open(request: IncomingMessage, socket: Socket, head: Buffer, handshake: UpgradeHandshake): Promise<void> {
    try {
      const identity = await identify(request, socket, this.#settings)
      // Rejected meanwhile: by the timeout or a drain, or the client has left.
      if (handshake.pending) this.#grant(identity, request, socket, head, handshake)
    } catch (thrown) {
      const error = RpcError.from(thrown)
      if (error === thrown) return handshake.reject(error)
      const requestId = randomUUID()
      this.#settings.logger.error({ requestId, err: thrown }, 'a request failed')
      handshake.reject(error, { requestId })
    }
  }

  #grant(identity: I, request: IncomingMessage, socket: Socket, head: Buffer, handshake: UpgradeHandshake): void {
    const connection = this.#connections.open(identity, 'websocket')
    this.#connectionId = connection.id
    let isGranted = false
    this.#server.handleUpgrade(request, socket, head, webSocket => {
      isGranted = true
      new AcpSocket(webSocket, socket, connection, this.#settings)
      handshake.become()
    })
    if (!isGranted) connection.end({ reason: 'protocol_error', message: 'the upgrade was no valid one' }, 'cut')
  }
}
