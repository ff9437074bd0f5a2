import { once } from 'node:events'
import { type AddressInfo, createServer, connect as dialTcp, type Socket } from 'node:net'
import { opened } from '../fixtures/leaves-nothing.js'

/** A network between a client and a server, as slow or as broken as a test wants it. */
export interface TcpProxy {
  port: number
  /** bytes that went through to the server */
  uploaded(): number
  /** connections that there were */
  accepted(): number
  /** From now on the connections that are open forward nothing, and are not closed: the other end has vanished. */
  swallow(): void
  /** Ends one of the open connections, `which` of [0, 1), at both ends. Returns whether there was one. */
  cut(which: number): boolean
}

/** bytes that a slow network takes at once */
const portion = 16 * 1024

/**
 * Forwards to a port of the loopback address.
 * @param portionMs for each 16 KiB, in the direction of its name; 0 for as fast as it goes
 */
export async function tcpProxy(to: number, portionMs: { up?: number; down?: number } = {}): Promise<TcpProxy> {
  let uploaded = 0
  let accepted = 0
  const links = new Set<{ near: Socket; far: Socket; swallows: boolean }>()
  const server = createServer(near => {
    accepted++
    const link = { near, far: dialTcp(to, '127.0.0.1'), swallows: false }
    links.add(link)
    near.once('close', () => links.delete(link))
    void forward(link, near, link.far, portionMs.up ?? 0, bytes => {
      uploaded += bytes
    })
    void forward(link, link.far, near, portionMs.down ?? 0, () => {})
  })
  opened.add({
    groups: [],
    close: async () => {},
    closeServers: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const { near, far } of links) for (const socket of [near, far]) socket.destroy()
      await closed
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port, // it listens on TCP
    uploaded: () => uploaded,
    accepted: () => accepted,
    cut(which) {
      const open = [...links].filter(({ near, far }) => !near.destroyed && !far.destroyed)
      const link = open[Math.floor(which * open.length)]
      // A reset, as from a system that knows the connection no more: bytes under way are lost.
      link?.near.resetAndDestroy()
      link?.far.resetAndDestroy()
      return link !== undefined
    },
    swallow() {
      for (const link of links) link.swallows = true
    },
  }
}

async function forward(
  link: { swallows: boolean },
  from: Socket,
  to: Socket,
  portionMs: number,
  count: (bytes: number) => void,
): Promise<void> {
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      for (let start = 0; start < chunk.length && !link.swallows; start += portion) {
        const part = chunk.subarray(start, start + portion)
        to.write(part)
        count(part.length)
        if (portionMs > 0) await new Promise(resolve => setTimeout(resolve, portionMs))
      }
    }
  } catch {
    // Reset by one of the ends.
  }
  if (!link.swallows) to.destroy()
}
