/**
 * One process per data directory, under a lock that never outlives its holder: the lock is a listening UNIX socket in
 * the directory, and the kernel stops responding for the socket the moment the process is gone. The lock holds across
 * containers that share the volume on one machine.
 *
 * Each process raises a flag, a socket file `lock-<pid>-<random>`, then looks at the flags of the others:
 *
 *     raise own flag ──▶ look ──▶ no other flag responds ──▶ holding
 *                         │  └──▶ a flag that is holding ──▶ lower own flag, fail with the holder's name
 *                         └─────▶ a flag that also looks ──▶ the smaller name waits and looks again, the larger
 *                                                            lowers its flag and starts anew
 *
 * Two processes cannot hold: each looked after raising its flag, so the later of the two saw the other's. No flag is
 * taken over, so no race exists about a take-over: a flag's name is never used again, and the file appears (by rename)
 * only when its socket listens already. A flag that rejects a connection therefore belongs to a dead process for good,
 * and any process may remove the file.
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { rpcError } from '../../../shared/contract/error-reasons.js'
import type { RpcError } from '../../../shared/rpc/errors.js'
import { isPlainObject } from '../../../shared/values/text.js'

/** Longest wait for the holder's description; without a response the pid in the flag's name has to do. */
const responseTimeoutMs = 1_000
/** Longest time for processes that start at the same moment to agree. */
const claimTimeoutMs = 30_000
const flagPrefix = 'lock-'
const unfinishedPrefix = 'unfinished-lock-'

/** A flag's response, as one line of JSON. */
interface Claim {
  pid: number
  host: string
  command: string
  since: string
  holding: boolean
}

/** A data directory under this process's lock, until `release()` or the end of the process. */
export interface DataLock {
  release(): Promise<void>
}

/**
 * Takes the lock of a directory.
 * @throws PRECONDITION_FAILED `data_in_use`, naming the process that holds the lock
 */
export async function lockDataDir(dataDir: string): Promise<DataLock> {
  const deadline = Date.now() + claimTimeoutMs
  const directory = await openForSockets(dataDir)
  try {
    for (;;) {
      const flag = await raiseFlag(dataDir, directory)
      if (!flag) continue
      let winner: Claim | 'us'
      try {
        winner = await lookAround(dataDir, directory, flag, deadline)
      } catch (error) {
        await flag.lower()
        throw error
      }
      if (winner === 'us') return { release: flag.lower }
      await flag.lower()
      if (winner.holding || Date.now() > deadline) throw inUse(dataDir, winner)
      await delay(10 + Math.random() * 40)
    }
  } finally {
    await directory.handle.close()
  }
}

/** The possible holder by the flags: this process, or the peer that responded. */
async function lookAround(
  dataDir: string,
  directory: SocketDirectory,
  own: Flag,
  deadline: number,
): Promise<Claim | 'us'> {
  for (;;) {
    const others = (await readdir(dataDir)).filter(name => name.startsWith(flagPrefix) && name !== own.name)
    let candidates = 0
    for (const name of others) {
      const claim = await askFlag(directory, name)
      if (claim === 'dead') await rm(join(dataDir, name), { force: true })
      else if (claim.holding || name < own.name || Date.now() > deadline) return claim
      else candidates++
    }
    if (candidates === 0) {
      own.hold()
      await removeUnfinished(dataDir)
      return 'us'
    }
    await delay(10)
  }
}

interface Flag {
  name: string
  /** Makes the flag respond as the holder's from now on. */
  hold(): void
  lower(): Promise<void>
}

/** Returns undefined if a new holder took the socket for a left-over. */
async function raiseFlag(dataDir: string, directory: SocketDirectory): Promise<Flag | undefined> {
  const suffix = `${process.pid}-${randomBytes(8).toString('hex')}`
  const name = `${flagPrefix}${suffix}`
  const claim: Claim = {
    pid: process.pid,
    host: hostname(),
    command: commandName(),
    since: new Date().toISOString(),
    holding: false,
  }
  const peers = new Set<Socket>()
  const server = createServer(peer => {
    peers.add(peer)
    // A peer that is gone before reading the response is no error of this process.
    peer.on('error', () => {}).on('close', () => peers.delete(peer))
    peer
      .unref()
      .resume()
      .end(`${JSON.stringify(claim)}\n`)
  })
  server.unref()
  await listen(server, directory.path(`${unfinishedPrefix}${suffix}`))
  try {
    await rename(join(dataDir, `${unfinishedPrefix}${suffix}`), join(dataDir, name))
  } catch (error) {
    await closeServer(server)
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  return {
    name,
    hold: () => {
      claim.holding = true
    },
    lower: async () => {
      await rm(join(dataDir, name), { force: true })
      for (const peer of peers) peer.destroy()
      await closeServer(server)
    },
  }
}

function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => server.close(() => resolve()))
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      // An error of a connection that could not be accepted, such as EMFILE, must not end the process.
      server.on('error', () => {})
      resolve()
    })
  })
}

/**
 * Removes sockets of processes that were killed between listening and renaming. A live process whose rename fails
 * therefore raises a new flag.
 */
async function removeUnfinished(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (name.startsWith(unfinishedPrefix)) await rm(join(dataDir, name), { force: true })
  }
}

function askFlag(directory: SocketDirectory, name: string): Promise<Claim | 'dead'> {
  const silent: Claim = {
    pid: Number(name.slice(flagPrefix.length).split('-')[0]),
    host: hostname(),
    command: '',
    since: '',
    holding: true,
  }
  return new Promise(resolve => {
    let line = ''
    const socket = connect(directory.path(name))
    const timer = setTimeout(() => settle(silent), responseTimeoutMs)
    const settle = (claim: Claim | 'dead') => {
      clearTimeout(timer)
      socket.destroy()
      resolve(claim)
    }
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      line += chunk
      if (line.length > 10_000) settle(silent)
    })
    socket.on('end', () => settle(parseClaim(line) ?? silent))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Rejected or gone: dead. Anything else (EAGAIN of a full backlog, EACCES of another user's socket) counts as
      // alive.
      settle(error.code === 'ECONNREFUSED' || error.code === 'ENOENT' ? 'dead' : silent)
    })
  })
}

function parseClaim(line: string): Claim | undefined {
  try {
    const claim: unknown = JSON.parse(line)
    if (!isPlainObject(claim)) return undefined
    const { pid, host, command, since, holding } = claim
    return {
      pid: Number(pid),
      host: String(host),
      command: String(command),
      since: String(since),
      holding: holding === true,
    }
  } catch {
    return undefined
  }
}

function inUse(dataDir: string, { pid, host, command, since }: Claim): RpcError<'data_in_use'> {
  const where = host === hostname() ? '' : ` on ${host}`
  const details = [command, since && `since ${since}`].filter(Boolean).join(', ')
  return rpcError(
    'data_in_use',
    `data directory ${dataDir} is in use by process ${pid}${where}${details && ` (${details})`}; stop it first, or choose another directory`,
  )
}

/** Returns `aibridge serve`: of the arguments only the subcommand, since others may be secrets. */
function commandName(): string {
  const program = basename(process.argv[1] ?? 'node')
  const subcommand = process.argv[2] ?? ''
  return `${/^(cli\.js|aibridge)$/.test(program) ? 'aibridge' : program}${/^[a-z][a-z-]*$/.test(subcommand) ? ` ${subcommand}` : ''}`
}

interface SocketDirectory {
  handle: FileHandle
  /** Returns the path of a socket in the directory, short enough to be bound. */
  path(name: string): string
}

/**
 * A socket's path has at most 107 bytes (sun_path, unix(7)), a directory's may have 4,095. On Linux the directory is
 * reached through its descriptor; elsewhere the system rejects a longer path.
 */
async function openForSockets(dataDir: string): Promise<SocketDirectory> {
  const handle = await open(dataDir, 'r')
  const base = process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : dataDir
  return { handle, path: name => join(base, name) }
}
