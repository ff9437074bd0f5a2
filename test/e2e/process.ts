/** The built command line as child processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { makeDataDir, makeEmptyDir } from '../fixtures/data-dir.js'

/** The built program. */
export const program = resolve('dist/server/cli.js')

/**
 * Flags of every Node process that may open the embedded database. Without them V8 optimises PostgreSQL's WebAssembly
 * in the background of each process, which takes half of the processor time of a start and pays only in a server that
 * runs for minutes; optimised JavaScript is a sixth of the rest.
 */
export const nodeFlags = ['--liftoff-only', '--no-opt']

export interface CommandResult {
  code: number | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  env?: Record<string, string>
  /** the input of the command on stdin */
  input?: string
}

/** Runs a command to its end. */
export async function run(args: readonly string[], { env, input }: RunOptions = {}): Promise<CommandResult> {
  const child = spawn(process.execPath, [...nodeFlags, program, ...args], { env: { ...bareEnvironment(), ...env } })
  child.stdin.end(input ?? '')
  const [stdout, stderr, [code]] = await Promise.all([textOf(child.stdout), textOf(child.stderr), once(child, 'close')])
  return { code, stdout, stderr }
}

/** A value of the contract as JSON carries it. */
export type Json<T> = T extends Date ? string : T extends object ? { [K in keyof T]: Json<T[K]> } : T

/** Runs a command with `--json` and returns the printed value: a `T`, as the caller knows from the contract. */
export async function runJson<T>(args: readonly string[], options?: RunOptions): Promise<Json<T>> {
  const { code, stdout, stderr } = await run([...args, '--json'], options)
  if (code !== 0) throw new Error(`${args.join(' ')} exited with ${code}: ${stderr}`)
  return JSON.parse(stdout)
}

/** A command that runs until it is stopped. */
export interface RunningProcess {
  /** where it listens */
  url: string
  pid: number
  /** all that it has printed */
  stdout(): string
  stderr(): string
  /** Resolves with the first log line that has this message. */
  logged(message: string | RegExp): Promise<Record<string, unknown>>
  kill(signal: NodeJS.Signals): void
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

/** A running `serve`. */
export interface ServeProcess extends RunningProcess {
  dataDir: string
  port: string
  /** flags that lead a command to it */
  flags: string[]
}

interface StartOptions {
  args?: string[]
  env?: Record<string, string>
  /** the command line of another build */
  program?: string | undefined
  /** of Node; default: {@link nodeFlags} */
  flags?: readonly string[]
}

/**
 * Starts `serve` on a free port and resolves when it has printed its URL; rejects with its stderr if it exits before.
 */
export async function startServe(dataDir: string, options: StartOptions = {}): Promise<ServeProcess> {
  const { args = [], env = {} } = options
  const started = await start(['serve', '--data', dataDir, '--port', '0', ...args], env, options)
  const { port } = new URL(started.url)
  return { ...started, dataDir, port, flags: ['--data', dataDir, '--port', port] }
}

/** Starts `daemon` on a free port, as {@link startServe} does; without `BRIDGE_DATA` in an empty data directory. */
export async function startDaemon(
  url: string,
  key: string,
  { args = [], env = {}, ...options }: StartOptions = {},
): Promise<RunningProcess> {
  const environment = { BRIDGE_DAEMON_KEY: key, BRIDGE_DATA: env.BRIDGE_DATA ?? (await makeEmptyDir('daemon')), ...env }
  return start(['daemon', '--url', url, '--port', '0', ...args], environment, options)
}

/** Starts `agent`, and resolves when it runs; its `url` is its directory. */
export function startAgent(
  url: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<RunningProcess> {
  return start(['agent', '--url', url, ...args], env, {})
}

/** Starts `acp serve` on a free port, and resolves when it listens. */
export function startAcpServe(args: readonly string[], env: Record<string, string> = {}): Promise<RunningProcess> {
  return start(['acp', 'serve', '--port', '0', ...args], env, {})
}

/** Starts `acp connect`, whose stdin and stdout are an editor's. */
export function startAcpConnect(url: string, env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [...nodeFlags, program, 'acp', 'connect', url], {
    env: { ...bareEnvironment(), ...env },
  })
  running.add(child)
  let stderr = ''
  child.stderr.on('data', chunk => {
    stderr += String(chunk)
  })
  const exited = once(child, 'close').then(([code, signal]) => {
    running.delete(child)
    return { code, signal }
  })
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: () => stderr,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    exited,
  }
}

async function start(
  args: readonly string[],
  env: Record<string, string>,
  { flags = nodeFlags, program: commandLine = program }: StartOptions,
): Promise<RunningProcess> {
  const child = spawn(process.execPath, [...flags, commandLine, ...args], {
    env: { ...bareEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  const exited = once(child, 'close').then(([code, signal]) => {
    running.delete(child)
    return { code, signal }
  })
  let stdout = ''
  let stderr = ''
  const waiting = new Set<() => void>()
  const changed = () => new Promise<void>(resolve => waiting.add(resolve))
  const note = () => {
    for (const resolve of waiting) resolve()
    waiting.clear()
  }
  createInterface(child.stdout).on('line', line => {
    stdout += `${line}\n`
    note()
  })
  createInterface(child.stderr).on('line', line => {
    stderr += `${line}\n`
    note()
  })
  void exited.then(note)
  const until = async <T>(look: () => T | undefined): Promise<T> => {
    for (;;) {
      const seen = look()
      if (seen !== undefined) return seen
      if (child.exitCode !== null || child.signalCode !== null) {
        await exited
        throw new Error(`${args[0]} exited with ${child.exitCode ?? child.signalCode}: ${stderr}`)
      }
      await changed()
    }
  }
  const url = await until(() => /(?:ready|listening) at (\S+),[^\n]*\n/.exec(stdout)?.[1])
  if (child.pid === undefined) throw new Error('a process that printed has a pid')
  return {
    url,
    pid: child.pid,
    stdout: () => stdout,
    stderr: () => stderr,
    logged: message =>
      until(() =>
        stderr
          .split('\n')
          .filter(line => line.startsWith('{'))
          .map((line): Record<string, unknown> => JSON.parse(line))
          .find(
            ({ msg }) => typeof msg === 'string' && (typeof message === 'string' ? msg === message : message.test(msg)),
          ),
      ),
    kill: signal => child.kill(signal),
    exited,
  }
}

/** A command that prints lines until it is stopped. */
export function follow(args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [...nodeFlags, program, ...args], {
    env: { ...bareEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  running.add(child)
  const exited = once(child, 'close').then(([code, signal]) => {
    running.delete(child)
    return { code, signal }
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    /** the next line */
    async line(): Promise<string> {
      const next = await lines.next()
      if (next.done) throw new Error(`${args.join(' ')} prints no more`)
      return next.value
    },
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    exited,
  }
}

const running = new Set<ChildProcess>()
const directories = new Set<string>()

/** An empty directory that {@link cleanUp} removes. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'aibridge-'))
  directories.add(directory)
  return directory
}

/**
 * A data directory that {@link cleanUp} removes: a copy of `template`, or with a key and an empty database, where the
 * first start is not the subject.
 */
export async function dataDirectory(template?: string): Promise<string> {
  const directory = await makeDataDir(template)
  directories.add(directory)
  if (template === undefined) await writeFile(join(directory, 'encryption-key'), randomBytes(32).toString('base64'))
  return directory
}

/** Ends every server that a test left running and removes the directories. */
export async function cleanUp(): Promise<void> {
  await Promise.all(
    [...running].map(async child => {
      const closed = once(child, 'close')
      child.kill('SIGKILL')
      await closed
    }),
  )
  for (const directory of directories) await rm(directory, { recursive: true, force: true })
  directories.clear()
}

/** Without npm's and this project's variables, as in a terminal. */
export function bareEnvironment(): Record<string, string> {
  const { PATH = '', HOME = '', TMPDIR = tmpdir() } = process.env
  return { PATH, HOME, TMPDIR }
}

/** All that a stream says, until its end. */
export async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
