/**
 * The flags of {@link lockFolder}: sockets in a folder, one for each process that holds the folder or wants
 * to. A flag responds with its process's claim. The file of a flag appears, by a rename, only when the socket listens.
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { isPlainObject } from '../values/text.js'

/** Longest wait for the holder's description; without a response the pid in the flag's name has to do. */
const responseTimeoutMs = 1_000
const flagPrefix = 'lock-'
const unfinishedPrefix = 'unfinished-lock-'

/** A flag's response, as one line of JSON. */
export interface Claim {
  pid: number
  host: string
  command: string
  since: string
  holding: boolean
}

/** The flag of this process. */
export interface Flag {
  name: string
  /** Makes the flag respond as the holder's from now on. */
  hold(): void
  lower(): Promise<void>
}

/** Raises a flag. Returns undefined if a new holder took the socket for a left-over. */
export async function raiseFlag(folder: string, directory: SocketDirectory): Promise<Flag | undefined> {
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
    await rename(join(folder, `${unfinishedPrefix}${suffix}`), join(folder, name))
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
      await rm(join(folder, name), { force: true })
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

/** Returns the names of all flags in a folder. */
export async function flagsIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter(name => name.startsWith(flagPrefix))
}

/**
 * Returns the claim of a flag. A flag that rejects the connection is dead for good; a silent flag counts as holding.
 */
export function askFlag(directory: SocketDirectory, name: string): Promise<Claim | 'dead'> {
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

/**
 * Removes sockets of processes that were killed between listening and renaming. A live process whose rename fails
 * therefore raises a new flag.
 */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(unfinishedPrefix)) await rm(join(folder, name), { force: true })
  }
}

/** Returns `aibridge serve`: of the arguments only the subcommand, since others may be secrets. */
function commandName(): string {
  const program = basename(process.argv[1] ?? 'node')
  const subcommand = process.argv[2] ?? ''
  return `${/^(cli\.js|aibridge)$/.test(program) ? 'aibridge' : program}${/^[a-z][a-z-]*$/.test(subcommand) ? ` ${subcommand}` : ''}`
}

/** A directory whose sockets can be bound and dialled, whatever the length of its path. */
export interface SocketDirectory {
  handle: FileHandle
  /** Returns the path of a socket in the directory, short enough to be bound. */
  path(name: string): string
}

/**
 * A socket's path has at most 107 bytes (sun_path, unix(7)), a directory's may have 4,095. On Linux the directory is
 * reached through its descriptor; elsewhere the system rejects a longer path.
 */
export async function openForSockets(folder: string): Promise<SocketDirectory> {
  const handle = await open(folder, 'r')
  const base = process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : folder
  return { handle, path: name => join(base, name) }
}
