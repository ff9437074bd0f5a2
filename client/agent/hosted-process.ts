import type {
  ListedProcess,
  ProcessCall,
  ProcessOutput,
  ProcessState,
  StartProcess,
} from '../../shared/contract/agents.js'
import { processLimits } from '../../shared/contract/limits.js'
import { cutToBytes } from '../../shared/values/text.js'
import { Command, type CommandEvents, type CommandExit, type CommandLine } from './command.js'
import { HeadAndTail } from './head-and-tail.js'
import type { EndSignal, ProcessTree } from './process-tree.js'
import { Waiters } from './waiters.js'

/** Listeners of a {@link HostedProcess}. */
export interface HostedProcessEvents {
  /** Called once, in the turn in which the process starts. */
  onStart(process: HostedProcess): void
  /** Called once, when the process has ended. */
  onEnd(process: HostedProcess): void
  /** Called once, at the end or later: no background child holds the output open any more. `left`: some may be left. */
  onClose(process: HostedProcess, left: ProcessTree | undefined): void
}

/** A checked input of `start`, and what tells it from another one. */
export type HostedInput = StartProcess & { inputHash: string }

/** A process of an agent: a command with its output, and those who wait for its end. */
export class HostedProcess implements CommandEvents {
  readonly kind = 'process'
  readonly id: string
  readonly scope: string | undefined
  readonly inputHash: string
  readonly startedAt = new Date()
  /** on a clock that nobody sets */
  readonly startedMs = performance.now()
  readonly #shown: Pick<ListedProcess, 'command' | 'dir' | 'background'>
  readonly #output = new HeadAndTail(processLimits)
  readonly #events: HostedProcessEvents
  #command: Command | undefined
  #exit: (CommandExit & { durationMs: number }) | undefined
  #state: 'running' | 'ended' = 'running'
  readonly #endWaiters = new Waiters()
  readonly #closeWaiters = new Waiters()
  #deadlineTimer: NodeJS.Timeout | undefined
  #killTimer: NodeJS.Timeout | undefined

  /**
   * Starts a command.
   * @throws RpcError dir_not_found, not_started
   */
  static async start(input: HostedInput, line: CommandLine, events: HostedProcessEvents): Promise<HostedProcess> {
    const process = new HostedProcess(input, line.dir, events)
    await Command.start(line, process)
    const { deadlineMs } = input
    if (deadlineMs !== undefined) process.#deadlineTimer = setTimeout(() => process.terminate(), deadlineMs)
    return process
  }

  private constructor(input: HostedInput, dir: string, events: HostedProcessEvents) {
    const { id, scope, inputHash, command, background } = input
    this.id = id
    this.scope = scope
    this.inputHash = inputHash
    this.#shown = { command: shownCommand(command), dir, background }
    this.#events = events
  }

  /** Whether the command runs, or has only just exited and background children still write. */
  get isRunning(): boolean {
    return this.#state === 'running'
  }

  /** The exit of the command; null if a signal ended it, undefined until then. */
  get exitCode(): number | null | undefined {
    return this.#exit?.exitCode
  }

  /** Returns the state and the output of this moment. */
  read(): ProcessOutput {
    return { ...this.#readState(), ...this.#output.read({ isWhole: !this.isRunning }) }
  }

  /** Returns the row of a list. */
  describe(): ListedProcess {
    const { id, scope, startedAt } = this
    return { id, ...(scope === undefined ? {} : { scope }), ...this.#shown, startedAt, ...this.#readState() }
  }

  #readState(): ProcessState {
    const running = this.isRunning
    if (!this.#exit) return { running, durationMs: Math.round(performance.now() - this.startedMs) }
    const { exitCode, signal, durationMs } = this.#exit
    return signal === null ? { running, exitCode, durationMs } : { running, exitCode, signal, durationMs }
  }

  /** Waits for the end, at most `waitMs`, or until the call is cancelled. Never rejects. */
  async waitForEnd(waitMs: number, call: ProcessCall): Promise<void> {
    // A signal is made when it is read.
    if (this.isRunning && waitMs > 0) await this.#endWaiters.wait(waitMs, call.signal)
  }

  /** Waits until {@link HostedProcessEvents.onClose} has been called, at most `waitMs`. Never rejects. */
  waitForClose(waitMs: number): Promise<void> {
    return this.#closeWaiters.wait(waitMs)
  }

  /** Sends a signal to all processes of the command. */
  async signal(signal: EndSignal): Promise<void> {
    await this.#command?.signal(signal)
  }

  /**
   * Sends SIGTERM and, 2 s later, SIGKILL to those that are left, also if the command itself has ended by then. A
   * repeat does nothing.
   */
  terminate(): void {
    if (!this.isRunning || this.#killTimer) return
    void this.signal('SIGTERM')
    this.#killTimer = setTimeout(() => void this.signal('SIGKILL'), processLimits.killAfterMs)
  }

  /** Gives up everything of this process, which may go on without this agent. */
  release(): void {
    this.#command?.release()
    clearTimeout(this.#killTimer)
    clearTimeout(this.#deadlineTimer)
    this.#endWaiters.release()
    this.#closeWaiters.release()
  }

  onStart(command: Command): void {
    this.#command = command
    this.#events.onStart(this)
  }

  onOutput(chunk: Buffer): void {
    this.#output.write(chunk)
  }

  onExit(exit: CommandExit): void {
    this.#exit = { ...exit, durationMs: Math.round(performance.now() - this.startedMs) }
  }

  onEnd(): void {
    this.#state = 'ended'
    clearTimeout(this.#deadlineTimer)
    this.#endWaiters.release()
    this.#events.onEnd(this)
  }

  onClose(left: ProcessTree | undefined): void {
    this.#events.onClose(this, left)
    this.#closeWaiters.release()
  }
}

/** Returns the beginning of a command as a text of its own: a part of a text keeps the whole in memory. */
function shownCommand(command: string): string {
  return Buffer.from(cutToBytes(command, processLimits.maxListedCommandBytes)).toString()
}
