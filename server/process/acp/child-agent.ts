/** Agents that speak on stdin and stdout: one child process for each connection, ended with it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { ProcessTree } from '../../../client/agent/process-tree.js'
import { acpError } from '../../../shared/acp/errors.js'
import { ndjsonDuplex } from '../../../shared/acp/ndjson-duplex.js'
import { closeCodes, type Duplex } from '../../../shared/rpc/duplex.js'
import { longestTimeoutMs } from '../../../shared/rpc/timeouts.js'
import type { Logger } from '../../../shared/values/log.js'

/** The steps of a child's end, in milliseconds. */
export interface ChildEndTimes {
  /** from the end of its stdin to the SIGTERM; measured: claude 40 ms, OpenCode 240 ms, Qwen 1.7 s, codex 2 s */
  readonly stdinGraceMs: number
  /** from the SIGTERM to the SIGKILL; as for commands of agents */
  readonly killAfterMs: number
}

/** The default of {@link ChildAgentOptions.times}. */
export const childEndTimes: ChildEndTimes = { stdinGraceMs: 5_000, killAfterMs: 2_000 }

/** A command that is an agent. */
export interface ChildAgentOptions {
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly logger: Logger
  /** children at once, those that are being ended included */
  readonly maxChildren: number
  readonly times?: ChildEndTimes
}

/** from the exit of a child to the end of its output, which is in the pipe already */
const pipeGraceMs = 1_000
/** between two looks at the descendants of a child that ends */
const lookMs = 250

/** The children of one command. */
export class ChildAgents {
  readonly #options: ChildAgentOptions
  readonly #ends = new Set<Promise<void>>()
  /** children that have not ended */
  #alive = 0

  constructor(options: ChildAgentOptions) {
    this.#options = options
  }

  /**
   * Starts a child, and returns its stdio. The child leads a process group. Its stderr is that of this process.
   * @throws RpcError agent_failed if the command cannot be started, or as {@link checkFree}
   */
  async start(): Promise<Duplex> {
    this.checkFree()
    const { command, args, env, logger } = this.#options
    const child = spawn(command, args, { env, detached: true, stdio: ['pipe', 'pipe', 'inherit'] })
    const { pid, stdin, stdout } = child
    if (pid === undefined || !stdin || !stdout) {
      const [cause]: unknown[] = await once(child, 'error')
      logger.error({ err: cause }, 'an agent could not be started')
      throw acpError('agent_failed', 'the agent could not be started', { cause })
    }
    child.on('error', error => logger.warn({ err: error }, 'a signal could not be sent to an agent'))
    this.#alive++
    logger.info({ pid }, 'an agent has started')
    return this.#connect(child, pid, stdin, stdout)
  }

  /**
   * Throws if there is no place for another child: one that ends keeps its place until it is gone.
   * @throws RpcError `SERVICE_UNAVAILABLE` (too_many_connections)
   */
  checkFree(): void {
    const { maxChildren } = this.#options
    if (this.#alive < maxChildren) return
    throw acpError('too_many_connections', `${maxChildren} agents run or end, as many as may at once`)
  }

  /** Resolves when every child has ended whose connection has. */
  async ended(): Promise<void> {
    await Promise.all(this.#ends)
  }

  #connect(child: ChildProcess, pid: number, stdin: Writable, stdout: Readable): Duplex {
    const { logger } = this.#options
    const end = (): void => {
      const ending = endChild(child, new ProcessTree(pid), stdin, this.#options.times ?? childEndTimes).then(
        ({ exitCode, signal }) => logger.info({ pid, exitCode, signal }, 'an agent has ended'),
        (error: unknown) => logger.error({ err: error, pid }, 'an agent could not be ended'),
      )
      this.#ends.add(ending)
      void ending.then(() => {
        this.#ends.delete(ending)
        this.#alive--
      })
    }
    const duplex = ndjsonDuplex(stdout, stdin, {
      onInvalidLine: error =>
        logger.warn({ pid, problem: error.message }, 'an agent printed a line that is no message'),
      endOutput: end,
    })
    child.once('exit', () => {
      // A descendant may hold the pipe, and its output is not the agent's.
      const close = (): void => duplex.close({ code: closeCodes.normal, message: 'the agent has exited' })
      setTimeout(close, pipeGraceMs).unref()
    })
    return duplex
  }
}

/** How a child has ended. */
export interface ChildEnd {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * Ends a child and its descendants: stdin is closed, and those that are left get SIGTERM and then SIGKILL. Descendants
 * are looked for before anything else: most agents start commands in sessions of their own, and a command whose agent
 * has ended cannot be told from any other process.
 */
async function endChild(
  child: ChildProcess,
  tree: ProcessTree,
  stdin: Writable,
  { stdinGraceMs, killAfterMs }: ChildEndTimes,
): Promise<ChildEnd> {
  await tree.look()
  stdin.end()
  for (let waitedMs = 0; waitedMs < stdinGraceMs && isRunning(child); waitedMs += lookMs) {
    await exitOf(child, Math.min(lookMs, stdinGraceMs - waitedMs))
    await tree.look()
  }
  if (isRunning(child)) {
    await tree.signal('SIGTERM')
    await exitOf(child, killAfterMs)
    if (isRunning(child)) await tree.signal('SIGKILL')
    await exitOf(child, longestTimeoutMs)
  }
  await endRest(tree, killAfterMs)
  return { exitCode: child.exitCode, signal: child.signalCode }
}

/** Ends descendants that have outlived the child. */
async function endRest(tree: ProcessTree, killAfterMs: number): Promise<void> {
  if (!(await tree.hasKnown())) return
  await tree.signalKnown('SIGTERM')
  for (let waitedMs = 0; waitedMs < killAfterMs && (await tree.hasKnown()); waitedMs += lookMs) {
    await new Promise(resolve => setTimeout(resolve, Math.min(lookMs, killAfterMs)))
  }
  await tree.signalKnown('SIGKILL')
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

/** Waits for the exit, at most `waitMs`. */
async function exitOf(child: ChildProcess, waitMs: number): Promise<void> {
  if (!isRunning(child)) return
  await new Promise<void>(resolve => {
    const done = (): void => {
      clearTimeout(timer)
      child.off('exit', done)
      resolve()
    }
    const timer = setTimeout(done, waitMs)
    child.once('exit', done)
  })
}
