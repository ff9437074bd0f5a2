/** `aibridge serve` as its users run it: with a new data directory, one user, one key and one provider. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { Counts } from './conversation.js'

/** A server that runs. */
export interface Serve {
  pid: number
  /** base URL of the provider for clients */
  baseUrl: string
  /** a key for clients */
  key: string
  /** Resolves with the sums of the database, when nothing waits to be stored. */
  recorded(): Promise<Counts>
  /** Ends the server and removes its data. @throws Error if the server could not hand over or keep a record */
  stop(): Promise<void>
}

/**
 * Starts a server with a provider.
 * @param build the folder of a build, such as dist/
 * @param upstream base URL of the provider
 * @param settings further options of the command
 */
export async function startServe(build: string, upstream: string, settings: readonly string[] = []): Promise<Serve> {
  const dataDir = await mkdtemp(join(tmpdir(), 'aibridge-bench-'))
  const program = join(build, 'server/cli.js')
  const args = [program, 'serve', '--data', dataDir, '--port', '0', '--json', ...settings]
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const log = keepLast(server.stderr)
  const { url } = await firstLine<{ url: string }>(server, log)

  /** Runs a command with `--json`. */
  async function run<T>(...args: string[]): Promise<T> {
    const all = [program, ...args, '--data', dataDir, '--url', url, '--json']
    const { stdout } = await promisify(execFile)(process.execPath, all)
    return JSON.parse(stdout) as T // the command line's own JSON, frozen by its tests
  }

  await run('users', 'create', 'ada')
  const { key } = await run<{ key: string }>('keys', 'create', '--user', 'ada')
  await run('providers', 'add', 'openai', '--type', 'openai', '--base-url', upstream, '--key', 'sk-bench-0123456789')

  return {
    pid: server.pid ?? Number.NaN,
    baseUrl: `${url}/bridge/openai/v1`,
    key,
    async recorded() {
      const { rows } = await run<{ rows: UsageRow[] }>('usage')
      const [total] = rows
      if (!total) return { requests: 0, input: 0, output: 0, cached: 0 }
      const cached = total.cacheReadInputTokens
      return { requests: total.interceptions, input: total.inputTokens + cached, output: total.outputTokens, cached }
    },
    async stop() {
      const ended = once(server, 'exit')
      server.kill('SIGTERM')
      const [code] = await ended
      await rm(dataDir, { recursive: true })
      if (code !== 0) throw new Error(`aibridge serve ended with ${code}: ${log()}`)
    },
  }
}

/** A row of `aibridge usage --json`. */
interface UsageRow {
  interceptions: number
  inputTokens: number
  outputTokens: number
  cacheReadInputTokens: number
}

async function firstLine<T>(server: ChildProcess & { stdout: NodeJS.ReadableStream }, log: () => string): Promise<T> {
  const lines = createInterface(server.stdout)
  const ended = once(server, 'exit').then(([code]) => {
    throw new Error(`aibridge serve ended with ${code}: ${log()}`)
  })
  const [line] = await Promise.race([once(lines, 'line'), ended])
  ended.catch(() => {}) // stop() looks at the end of a server that has started
  return JSON.parse(line) as T // the command line's own JSON, frozen by its tests
}

/** Returns a function that returns the last lines of a log. */
function keepLast(stream: NodeJS.ReadableStream): () => string {
  const lines: string[] = []
  createInterface(stream).on('line', line => {
    lines.push(line)
    if (lines.length > 20) lines.shift()
  })
  return () => lines.join('\n')
}
