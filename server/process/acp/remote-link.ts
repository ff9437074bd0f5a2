/** One connection to a remote agent, for an editor and for requests of this process. */
import type { AcpClient } from '../../../client/acp/acp-client.js'
import { acpError } from '../../../shared/acp/errors.js'
import { type AcpMessage, type AcpResponse, isResponse, sessionIdOf } from '../../../shared/acp/messages.js'
import type { CloseReason } from '../../../shared/rpc/duplex.js'

/** The relay above a link. */
export interface LinkOwner {
  /** Takes a message that is the editor's. */
  onMessage(link: RemoteLink, message: AcpMessage): void
  onDrain(link: RemoteLink): void
  onClose(link: RemoteLink, reason: CloseReason): void
}

/** Ids of requests of this process: no editor counts so. */
let lastId = 0

/** Has the duplex of a client. */
export class RemoteLink {
  readonly client: AcpClient
  readonly #own = new Map<string, { resolve(response: AcpResponse): void; reject(error: Error): void }>()
  /** the session whose history is loaded: the editor has it already */
  #muted: string | undefined

  constructor(client: AcpClient, owner: LinkOwner) {
    this.client = client
    client.open({
      onMessage: message => {
        const received = message as AcpMessage // the client checks messages
        if (!this.#take(received)) owner.onMessage(this, received)
      },
      onDrain: () => owner.onDrain(this),
      onClose: reason => {
        for (const { reject } of this.#own.values()) reject(acpError('connection_closed', reason.message))
        this.#own.clear()
        owner.onClose(this, reason)
      },
    })
  }

  /**
   * Sends a request of this process, and returns its response; rejects if the connection is closed before.
   * @param mutes a session whose updates are dropped until then
   */
  request(method: string, params: unknown, mutes?: string): Promise<AcpResponse> {
    const id = `aibridge-connect-${++lastId}`
    return new Promise((resolve, reject) => {
      this.#muted = mutes
      this.#own.set(id, { resolve, reject })
      try {
        this.client.send({ jsonrpc: '2.0', id, method, params })
      } catch (error) {
        this.#own.delete(id)
        reject(error instanceof Error ? error : acpError('connection_closed', String(error)))
      }
    })
  }

  #take(message: AcpMessage): boolean {
    if (!isResponse(message))
      return this.#muted !== undefined && message.id === undefined && sessionIdOf(message) === this.#muted
    const own = this.#own.get(String(message.id))
    if (!own) return false
    this.#own.delete(String(message.id))
    this.#muted = undefined
    own.resolve(message)
    return true
  }
}
