import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What happens to the connection on which a message was found: the server gets the message, or does not. */
export type Cut = 'before' | 'after' | 'swallow'

/** A network between a store and PostgreSQL that fails at a chosen message. */
export interface CuttableNetwork {
  url: string
  /**
   * Fails once, at the first message to the server that matches: the connection ends before or after its delivery, or
   * stays open and silent. Connections that come later are refused if `thenRefuse` says so.
   */
  failAt(message: RegExp, cut: Cut, options?: { thenRefuse?: boolean }): void
  /** Fails once, at the n-th part of the responses to messages from now on; a notification is no response. */
  failAtResponse(part: number, options?: { thenRefuse?: boolean }): void
  /** Returns whether the chosen failure has happened. */
  hasFailed(): boolean
  /** Forwards everything again, and ends the connections that are silent. */
  heal(): void
  close(): Promise<void>
}

/** Makes a network to the server of a URL. */
export async function cuttableNetwork(target: string): Promise<CuttableNetwork> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  const silent = new Set<Socket>()
  let failure: { message: RegExp; cut: Cut } | { part: number; asked: Set<Socket> } | undefined
  let refuse: 'never' | 'after the failure' | 'now' = 'never'

  const proxy = createServer(near => {
    if (refuse === 'now') return near.resetAndDestroy()
    const far = connect(Number(port), hostname)
    let isSilent = false
    const end = () => {
      failure = undefined
      if (refuse === 'after the failure') refuse = 'now'
    }
    const cutNear = () => {
      isSilent = true
      near.resetAndDestroy()
    }
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    near.on('data', chunk => {
      if (isSilent) return
      if (failure && 'asked' in failure) failure.asked.add(near)
      if (failure === undefined || !('message' in failure) || !failure.message.test(chunk.toString('latin1'))) {
        far.write(chunk)
        return
      }
      const { cut } = failure
      end()
      if (cut === 'swallow') {
        isSilent = true
        silent.add(far)
      } else if (cut === 'before') {
        cutNear()
        far.destroy()
      } else {
        cutNear()
        // The server ends the session when it has done its work, and finds nobody to tell.
        far.end(chunk)
      }
    })
    far.on('data', chunk => {
      if (isSilent) return
      if (failure === undefined || !('part' in failure) || !failure.asked.has(near) || failure.part-- > 1) {
        near.write(chunk)
        return
      }
      end()
      cutNear()
      far.end()
    })
    near.on('close', () => {
      if (!isSilent) far.destroy()
    })
    far.on('close', () => {
      if (!isSilent) near.destroy()
    })
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const url = new URL(target)
  url.port = String((proxy.address() as AddressInfo).port) // it listens on TCP
  const arm = (next: NonNullable<typeof failure>, thenRefuse: boolean) => {
    failure = next
    refuse = thenRefuse ? 'after the failure' : 'never'
  }
  return {
    url: url.href,
    failAt: (message, cut, { thenRefuse = false } = {}) => arm({ message, cut }, thenRefuse),
    failAtResponse: (part, { thenRefuse = false } = {}) => arm({ part, asked: new Set() }, thenRefuse),
    hasFailed: () => failure === undefined,
    heal() {
      for (const socket of silent) socket.destroy()
      silent.clear()
      failure = undefined
      refuse = 'never'
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      proxy.close()
      await once(proxy, 'close')
    },
  }
}
