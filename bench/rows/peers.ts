/**
 * The peers that are no dependencies of this project. `bench/package.json` pins them, and the first run installs them;
 * their rows are plain JavaScript beside it, because a checkout without them compiles too.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { openBare, serveBare } from './listening.js'
import { type OpenRow, overLoopback, type Row } from './row.js'
import type { Service } from './service.js'

/** The folder in the sources, as seen from dist/bench/rows/. */
const folder = fileURLToPath(new URL('../../../bench/', import.meta.url))
const stamp = join(folder, 'node_modules/.installed')

/** The exports of a file in bench/peers/. */
type Peer = { does: string } & (
  | { open(service: Service): Promise<OpenRow> }
  | {
      ends: {
        serve(service: Service, tools: { serveBare: typeof serveBare }): ReturnType<typeof serveBare>
        connect(url: string, tools: { openBare: typeof openBare }): Promise<OpenRow>
      }
    }
)

const files = { 'capnweb websocket': 'capnweb', 'orpc websocket': 'orpc', 'connect memory': 'connect' }

export const peerNames: readonly string[] = Object.keys(files)

/** Returns no rows, after a line that says so, where the peers cannot be installed. */
export async function loadPeers(): Promise<readonly Row[]> {
  if (!(await installPeers(peerNames))) return []
  return Promise.all(Object.entries(files).map(([name, file]) => load(name, file)))
}

async function load(name: string, file: string): Promise<Row> {
  const peer: Peer = await import(peerFile(file).href)
  if ('open' in peer) return { name, does: peer.does, open: peer.open }
  return overLoopback({
    name,
    does: peer.does,
    ends: {
      serve: service => peer.ends.serve(service, { serveBare }),
      connect: url => peer.ends.connect(url, { openBare }),
    },
  })
}

/** Returns the script of a peer, in bench/peers/. */
export function peerFile(file: string): URL {
  return pathToFileURL(join(folder, 'peers', `${file}.js`))
}

/**
 * Installs the peers unless they are there. Resolves with whether they are there now; a line says so if not.
 * @param rows names of the rows that need them
 */
export async function installPeers(rows: readonly string[]): Promise<boolean> {
  if (await install()) return true
  console.error(`without the rows ${rows.join(', ')}: npm cannot install them here`)
  return false
}

/** Installs the locked versions unless they are there. Resolves with whether they are there now. */
async function install(): Promise<boolean> {
  const lock = createHash('sha256')
    .update(readFileSync(join(folder, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return true
  console.error('installing the peers in bench/node_modules …')
  // A peer's script patches packages that only its own developers have.
  const quickly = ['--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=0']
  if (!(await run('npm', ['ci', '--prefix', folder, ...quickly]))) return false
  writeFileSync(stamp, lock)
  return true
}

function run(command: string, args: string[]): Promise<boolean> {
  // Standard output belongs to the figures.
  const child = spawn(command, args, { stdio: ['ignore', 2, 2] })
  return new Promise(resolve => {
    child.once('error', () => resolve(false))
    child.once('close', code => resolve(code === 0))
  })
}
