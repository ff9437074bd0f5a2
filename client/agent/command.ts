import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { processLimits } from '../../shared/contract/limits.js'
import { type EndSignal, ProcessTree } from './process-tree.js'

/** A shell command, ready to be started. */
export interface CommandLine {
  command: string
  /** absolute */
  dir: string
  env: NodeJS.ProcessEnv
}

/** How a shell has exited; one of the two is set. */
export interface CommandExit {
  exitCode: number | null
  signal: NodeJS.Signals | null
}

/** Listeners of a {@link Command}. */
export interface CommandEvents {
  /** Called in the turn in which the command starts. */
  onStart(command: Command): void
  onOutput(chunk: Buffer): void
  onExit(exit: CommandExit): void
  /** Called once, behind the last output: the pipe has closed, or the grace of background children is over. */
  onEnd(): void
  /** Called once, at the end or later: the pipe has closed. `left`: background children may live on without it. */
  onClose(left: ProcessTree | undefined): void
}

/**
 * A running `sh -c`, which leads a process group of its own and has no stdin.
 * ```
 * running ──the shell exits──▶ exited ──the pipe closes──▶ closed
 *                                 └──────5 s──────▶ held ─────▲
 * ```
 * The end is reported at `held`, or at `closed`: a background child may hold the pipe for ever. Its output is read on
 * and dropped, because without a reader the child would be ended by SIGPIPE.
 */
export class Command {
  readonly #child: ChildProcess
  readonly #tree: ProcessTree
  readonly #events: CommandEvents
  #state: 'running' | 'exited' | 'held' | 'closed' = 'running'
  #graceTimer: NodeJS.Timeout | undefined

  /**
   * Starts a command.
   * @throws RpcError dir_not_found, not_started
   */
  static async start(line: CommandLine, events: CommandEvents): Promise<void> {
    const child = spawnShell(line)
    if (child.pid === undefined) throw await startError(child, line)
    events.onStart(new Command(child, child.pid, events))
  }

  private constructor(child: ChildProcess, pid: number, events: CommandEvents) {
    this.#child = child
    this.#tree = new ProcessTree(pid)
    this.#events = events
    child.stdout?.on('data', this.#onOutput)
    // A pipe that cannot be read closes, and that is the end of its output.
    child.stdout?.on('error', ignore)
    child.once('exit', this.#onExit)
    child.once('close', this.#onClose)
  }

  /** Sends a signal to the shell's group and its descendants; behind the end, to those that are left. */
  signal(signal: EndSignal): Promise<void> {
    return this.#isOver ? this.#tree.signalKnown(signal) : this.#tree.signal(signal)
  }

  /** Reads no longer. Background children get SIGPIPE when they write. */
  release(): void {
    this.#state = 'closed'
    clearTimeout(this.#graceTimer)
    this.#child.off('exit', this.#onExit)
    this.#child.off('close', this.#onClose)
    this.#child.stdout?.destroy()
    this.#child.unref()
  }

  get #isOver(): boolean {
    return this.#state === 'held' || this.#state === 'closed'
  }

  readonly #onOutput = (chunk: Buffer): void => {
    if (!this.#isOver) this.#events.onOutput(chunk)
  }

  readonly #onExit = (exitCode: number | null, signal: NodeJS.Signals | null): void => {
    this.#state = 'exited'
    this.#events.onExit({ exitCode, signal })
    this.#graceTimer = setTimeout(() => {
      this.#state = 'held'
      // Remembered while the number of the group is certainly theirs.
      void this.#tree.look()
      this.#events.onEnd()
    }, processLimits.pipeGraceMs)
  }

  readonly #onClose = (): void => {
    clearTimeout(this.#graceTimer)
    const wasHeld = this.#state === 'held'
    this.#state = 'closed'
    const leavesGroup = this.#tree.hasGroup()
    // Remembered while the number of the group is certainly theirs.
    if (leavesGroup && !wasHeld) void this.#tree.look()
    if (!wasHeld) this.#events.onEnd()
    // A signal finds children outside the group, and those may ignore it.
    this.#events.onClose(leavesGroup || this.#tree.hasLooked ? this.#tree : undefined)
  }
}

const ignore = (): void => {}

/** @throws RpcError not_started if the system takes no such command */
function spawnShell({ command, dir, env }: CommandLine): ChildProcess {
  try {
    // One pipe for both: two pipes would lose the order of what is written. It is a socket, which a command cannot open
    // again by a name such as /dev/stderr (findings/node-pipes-are-sockets.sh).
    return spawn('sh', ['-c', `exec 2>&1\n${command}`], {
      cwd: dir,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch (error) {
    throw notStarted(error)
  }
}

/** The error of a child without a process id, which the child reports a turn later. */
async function startError(child: ChildProcess, { dir }: CommandLine): Promise<Error> {
  const [error]: unknown[] = await once(child, 'error')
  // A directory that has gone meanwhile is reported as a missing `sh`.
  return requireDirectory(dir).then(
    () => notStarted(error),
    (missing: Error) => missing,
  )
}

function notStarted(error: unknown) {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  const cause = code === 'E2BIG' ? 'E2BIG: command and environment are larger than the system takes' : String(code)
  return rpcError('not_started', `the command could not be started: ${cause}`, { cause: error })
}

/**
 * Checks that commands can run in a directory.
 * @throws RpcError dir_not_found
 */
export async function requireDirectory(dir: string): Promise<void> {
  try {
    const [found] = await Promise.all([stat(dir), access(dir, constants.X_OK)])
    if (found.isDirectory()) return
  } catch {
    // The error below says what matters.
  }
  throw rpcError('dir_not_found', `there is no directory ${JSON.stringify(dir)} that a command can run in`)
}
