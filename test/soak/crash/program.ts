/** A process of the built program that is killed and started again, at the same place. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { bareEnvironment, nodeFlags } from '../../e2e/process.js'

/** What a process is doing. `starting` lasts until it has printed where it listens. */
export type ProgramState = 'stopped' | 'starting' | 'ready' | 'stopping'

/** Options of {@link Program}. */
export interface ProgramOptions {
  name: string
  /** the path of the built command line */
  commandLine: string
  args: readonly string[]
  env: Readonly<Record<string, string>>
  logFile: string
  /** whether a start may fail, because something that the process needs may be away */
  mayFailToStart: boolean
  /** Takes each line of the log. */
  onLine(line: string): void
  /** Takes an end of the process that is against the rules. */
  onOffence(problem: string): void
}

/** One run of a process, from its start to its exit. */
export interface Run {
  readonly startedAt: number
  readyAt?: number
  /** the signal with which the harness has ended it */
  ending?: 'SIGKILL' | 'SIGTERM'
  exitedAt?: number
  code?: number | null
}

/** A command of the program under the harness' hands. */
export class Program {
  readonly name: string
  readonly runs: Run[] = []
  /** number of starts that failed although nothing had ended the process */
  failedStarts = 0
  readonly #options: ProgramOptions
  readonly #log: WriteStream
  #child: ChildProcess | undefined
  #ready: Promise<boolean> = Promise.resolve(false)
  #exited: Promise<void> = Promise.resolve()

  constructor(options: ProgramOptions) {
    this.name = options.name
    this.#options = options
    this.#log = createWriteStream(options.logFile, { flags: 'a' })
  }

  get state(): ProgramState {
    const run = this.runs.at(-1)
    if (!run || run.exitedAt !== undefined || run.ending === 'SIGKILL') return 'stopped'
    if (run.ending === 'SIGTERM') return 'stopping'
    return run.readyAt === undefined ? 'starting' : 'ready'
  }

  /** whether the process was ready once, in any run */
  get wasReady(): boolean {
    return this.runs.some(run => run.readyAt !== undefined)
  }

  /** Starts the process if it does not run. */
  start(): void {
    if (this.state === 'starting' || this.state === 'ready') return
    const { commandLine, args, env, mayFailToStart, onLine, onOffence } = this.#options
    const run: Run = { startedAt: performance.now() }
    this.runs.push(run)
    this.#note(`start ${this.runs.length}`)
    const child = spawn(process.execPath, [...nodeFlags, commandLine, ...args], {
      env: { ...bareEnvironment(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    const closed = once(child, 'close')
    this.#ready = new Promise(resolve => {
      createInterface(child.stdout).on('line', line => {
        if (!/(?:ready|listening) at \S+/.test(line)) return
        run.readyAt = performance.now()
        resolve(true)
      })
      void closed.then(() => resolve(false))
    })
    createInterface(child.stderr).on('line', line => {
      this.#log.write(`${line}\n`)
      onLine(line)
    })
    this.#exited = closed.then(([code, signal]) => {
      run.exitedAt = performance.now()
      run.code = code
      this.#note(`exit ${code ?? signal}`)
      if (run.ending === undefined && (run.readyAt !== undefined || !mayFailToStart))
        onOffence(`${this.name} ended by itself with ${code ?? signal}`)
      if (run.ending === 'SIGTERM' && code !== 0) onOffence(`${this.name} ended with ${code ?? signal} after a SIGTERM`)
    })
  }

  /**
   * Starts the process until it is ready: a start that fails by itself is repeated, as a supervisor would. Resolves
   * with false if the harness ends the process meanwhile.
   * @throws Error after `timeoutMs`
   */
  async up(timeoutMs: number): Promise<boolean> {
    const giveUpAt = performance.now() + timeoutMs
    for (;;) {
      this.start()
      const run = this.runs.at(-1)
      if (await within(this.#ready, giveUpAt)) return true
      if (run?.ending !== undefined) return false
      if (performance.now() > giveUpAt) throw new Error(`${this.name} is not ready after ${timeoutMs} ms`)
      await this.#exited
      this.failedStarts++
      await new Promise(resolve => setTimeout(resolve, 200))
    }
  }

  /** Kills the process as nothing can prevent. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#end('SIGKILL')
    await this.#exited
  }

  /** Asks the process to end. Resolves with its exit code when it is gone. */
  async terminate(timeoutMs: number): Promise<number | null> {
    const run = this.runs.at(-1)
    this.#end('SIGTERM')
    if (
      !(await within(
        this.#exited.then(() => true),
        performance.now() + timeoutMs,
      ))
    )
      throw new Error(`${this.name} does not end ${timeoutMs} ms after a SIGTERM`)
    return run?.code ?? null
  }

  /** Stops the process with SIGSTOP: it keeps its connections and does nothing. */
  freeze(): void {
    this.#note('SIGSTOP')
    this.#child?.kill('SIGSTOP')
  }

  /** Lets a stopped process go on. */
  thaw(): void {
    this.#note('SIGCONT')
    this.#child?.kill('SIGCONT')
  }

  closeLog(): void {
    this.#log.end()
  }

  #end(signal: 'SIGKILL' | 'SIGTERM'): void {
    const run = this.runs.at(-1)
    if (!run || run.exitedAt !== undefined) return
    this.#note(signal)
    run.ending = signal
    this.#child?.kill(signal)
  }

  #note(event: string): void {
    this.#log.write(`--- ${new Date().toISOString()} ${this.name}: ${event}\n`)
  }
}

/** Resolves as the promise does, or with undefined at a time of `performance.now()`. */
function within<T>(promise: Promise<T>, at: number): Promise<T | undefined> {
  return new Promise(resolve => {
    const timer = setTimeout(() => resolve(undefined), at - performance.now())
    void promise.then(value => {
      clearTimeout(timer)
      resolve(value)
    })
  })
}
