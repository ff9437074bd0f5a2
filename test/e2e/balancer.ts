/** A balancer in front of several control planes. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Gives each connection to one of the targets, in turn. */
export interface Balancer {
  url: string
  close(): Promise<void>
}

/** @param targets returns the targets at the time of a connection */
export async function balance(targets: () => readonly { url: string }[]): Promise<Balancer> {
  let turn = 0
  const sockets = new Set<Socket>()
  const server: Server = createServer(near => {
    const list = targets()
    const target = list[turn++ % list.length]
    const far = connect(Number(target && new URL(target.url).port), '127.0.0.1')
    near.pipe(far)
    far.pipe(near)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
