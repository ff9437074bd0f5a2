/**
 * Keeps clients on loopback, and notes their other destinations.
 *
 * In a network namespace of its own (Linux; `unshare` of util-linux and `ip` of iproute2, no root) a process has
 * loopback and nothing else. Every address is routed to loopback there (AnyIP), so that all look-ups of names and all
 * TCP connections to ports 80 and 443 arrive here, for any address. The kernel rejects connections to other ports,
 * which are seen only if a name was looked up.
 *
 * Elsewhere a proxy, named in the clients' environment, rejects everything but loopback. Connections of clients that
 * ignore `HTTPS_PROXY` are neither rejected nor seen.
 */
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttpServer, request as httpRequest } from 'node:http'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'

export interface NetworkGuard {
  /** variables for the environment of each client */
  env: Record<string, string>
  /** Returns the rejected destinations since the last call, each with its count. */
  take(): string[]
  close(): void
}

/** Sets up the namespace, then runs the command that follows. The IPv6 route fails where there is no IPv6. */
const setUp =
  'ip link set lo up && ip route add local 0.0.0.0/0 dev lo && { ip -6 route add local ::/0 dev lo; exec "$@"; }'

/** The command that runs another one in a namespace. With its end, every process in the namespace ends. */
const namespaceCommand = ['unshare', '-rn', '--pid', '--fork', '--kill-child', 'sh', '-c', setUp, 'sh']

/** Returns the beginning of a command that runs in a namespace; empty if this system has none for us. */
export function namespacePrefix(): readonly string[] {
  try {
    const [program = '', ...args] = [...namespaceCommand, 'true']
    execFileSync(program, args, { stdio: 'ignore', timeout: 10_000 })
    return namespaceCommand
  } catch {
    return []
  }
}

/** Watches the network of the namespace in which this process runs. */
export async function guardNamespace(): Promise<NetworkGuard> {
  const { add, take } = counted()
  const servers = await Promise.all(
    [80, 443].map(async port => {
      const server = createServer(socket => {
        const address = (socket.localAddress ?? '').replace(/^::ffff:/, '')
        if (!isLoopback(address)) add(`${address}:${port}`)
        socket.on('error', () => {}).destroy()
      })
      await listening(server.listen(port))
      return server
    }),
  )
  const dns = createSocket('udp4')
  dns.on('message', (query, { port, address }) => {
    add(queriedName(query))
    dns.send(noSuchName(query), port, address)
  })
  dns.bind(53)
  await once(dns, 'listening')
  return {
    env: {},
    take,
    close() {
      dns.close()
      for (const server of servers) server.close()
    },
  }
}

/** Starts a proxy that connects to loopback only. */
export async function guardByProxy(): Promise<NetworkGuard> {
  const { add, take } = counted()
  const proxy = createHttpServer((request, response) => {
    const target = URL.parse(request.url ?? '')
    if (!target || !isLoopback(target.hostname)) {
      add(target?.host ?? request.url ?? '')
      response.writeHead(403).end('rejected: not loopback\n')
      return
    }
    const onwards = httpRequest(target, { method: request.method, headers: request.headers }, answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onwards.on('error', () => response.destroy())
    request.pipe(onwards)
  })
  proxy.on('connect', (request, socket, head: Buffer) => {
    socket.on('error', () => {})
    const target = URL.parse(`http://${request.url}`)
    if (!target || !isLoopback(target.hostname)) {
      add(request.url ?? '')
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
      return
    }
    const onwards = connect(Number(target.port || 80), target.hostname, () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      onwards.write(head)
      socket.pipe(onwards).pipe(socket)
    })
    onwards.on('error', () => socket.destroy())
  })
  await listening(proxy.listen(0, '127.0.0.1'))
  const { port } = proxy.address() as AddressInfo // it listens on TCP
  const url = `http://127.0.0.1:${port}`
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'].flatMap(name => [name, name.toLowerCase()])
  const direct = '127.0.0.1,localhost,::1'
  return {
    env: { ...Object.fromEntries(names.map(name => [name, url])), NO_PROXY: direct, no_proxy: direct },
    take,
    close() {
      proxy.close()
      proxy.closeAllConnections()
    },
  }
}

function counted(): { add(destination: string): void; take(): string[] } {
  const counts = new Map<string, number>()
  return {
    add: destination => {
      counts.set(destination, (counts.get(destination) ?? 0) + 1)
    },
    take: () => {
      const destinations = [...counts].map(([destination, count]) => `${destination} × ${count}`)
      counts.clear()
      return destinations.sort()
    },
  }
}

async function listening(server: Server): Promise<void> {
  await once(server, 'listening')
}

function isLoopback(host: string): boolean {
  return /^(127\.\d+\.\d+\.\d+|\[?::1\]?|localhost)$/i.test(host)
}

/** The name of the first question (RFC 1035, section 4.1.2). */
function queriedName(query: Buffer): string {
  const labels: string[] = []
  for (let at = 12; at < query.length; ) {
    const length = query[at] ?? 0
    if (length === 0) break
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return labels.join('.')
}

/** The query as a response with NXDOMAIN (RFC 1035, section 4.1.1). */
function noSuchName(query: Buffer): Buffer {
  const response = Buffer.from(query)
  response.writeUInt16BE(0x8183, 2)
  return response
}
