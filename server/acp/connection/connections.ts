/** The connections of one server. */
import { randomUUID } from 'node:crypto'
import { acpError } from '../../../shared/acp/errors.js'
import { maxIdLength } from '../../../shared/acp/limits.js'
import type { AcpIdentity, AcpSettings, AcpTransport } from '../options.js'
import { AcpConnection } from './acp-connection.js'

/** Finds connections by id, and bounds their number. */
export class Connections<I extends AcpIdentity> {
  readonly #settings: AcpSettings<I>
  readonly #connections = new Map<string, AcpConnection<I>>()
  readonly #byUser = new Map<string, number>()

  constructor(settings: AcpSettings<I>) {
    this.#settings = settings
  }

  get size(): number {
    return this.#connections.size
  }

  /**
   * Makes a connection without an agent, and counts it until it begins to end.
   * @throws RpcError `SERVICE_UNAVAILABLE` (too_many_connections, draining), or as `admit`
   */
  open(identity: I, transport: AcpTransport): AcpConnection<I> {
    const { group, observer, replicaId, admit } = this.#settings
    const { userId } = identity
    this.#check(userId)
    let release: (() => void) | undefined
    const id = `${replicaId}.${randomUUID()}`
    const onEnding = (): void => {
      this.#connections.delete(id)
      const left = (this.#byUser.get(userId) ?? 1) - 1
      if (left === 0) this.#byUser.delete(userId)
      else this.#byUser.set(userId, left)
      release?.()
    }
    const connection = new AcpConnection<I>({ id, identity, transport, onEnding }, this.#settings)
    group.add(connection)
    this.#connections.set(id, connection)
    this.#byUser.set(userId, (this.#byUser.get(userId) ?? 0) + 1)
    observer.connectionOpened?.(transport)
    try {
      release = admit?.(identity)
    } catch (error) {
      connection.end({ reason: 'initialize_failed', message: 'the connection was not admitted' }, 'cut')
      throw error
    }
    return connection
  }

  #check(userId: string): void {
    const { maxConnections, maxConnectionsPerUser } = this.#settings.limits
    if (this.#connections.size >= maxConnections) throw tooMany('maxConnections', maxConnections)
    if ((this.#byUser.get(userId) ?? 0) >= maxConnectionsPerUser) {
      throw tooMany('maxConnectionsPerUser', maxConnectionsPerUser)
    }
  }

  /**
   * Returns a user's connection.
   * @throws RpcError `BAD_REQUEST` (connection_id_missing), `NOT_FOUND` (wrong_replica, unknown_connection)
   */
  find(id: string | undefined, { userId }: I): AcpConnection<I> {
    if (id === undefined) throw acpError('connection_id_missing', 'the header Acp-Connection-Id is missing')
    const connection = id.length > maxIdLength ? undefined : this.#connections.get(id)
    if (connection?.identity.userId === userId) return connection
    const [replica = ''] = id.split('.', 1)
    if (id.includes('.') && replica !== this.#settings.replicaId) {
      throw acpError('wrong_replica', `this is replica ${this.#settings.replicaId}; another one made the connection`)
    }
    throw acpError('unknown_connection', 'no connection of this user has this id, or it has ended')
  }
}

function tooMany(name: string, limit: number): Error {
  return acpError(
    'too_many_connections',
    `${limit.toLocaleString('en')} connections are open, as many as ${name} allows`,
  )
}
