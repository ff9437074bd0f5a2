import { randomUUID } from 'node:crypto'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type {
  AgentInfo,
  CancelledProcess,
  CancelProcess,
  ListProcesses,
  ProcessCall,
  ProcessHost,
  ProcessList,
  ProcessOutput,
  ReadProcess,
  SignalledProcess,
  SignalProcess,
  StartedProcess,
  StartProcess,
} from '../../shared/contract/agents.js'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { processLimits } from '../../shared/contract/limits.js'
import { backgroundTimer } from '../../shared/rpc/background-timer.js'
import { requireDirectory } from './command.js'
import { commandEnvironment } from './environment.js'
import { HostedProcess, type HostedProcessEvents } from './hosted-process.js'
import { hashOfStart } from './input-hash.js'
import { type PastProcess, PastProcesses } from './past-processes.js'
import { cancelled, outputGone, unknownProcess } from './process-errors.js'
import type { EndSignal, ProcessTree } from './process-tree.js'
import { StartAttempt } from './start-attempt.js'

/** Settings of a {@link ProcessTable}. */
export interface ProcessTableOptions {
  /** the directory of commands that name none; default: that of this process */
  dir?: string
  /** the agent's own environment; default: that of this process */
  env?: NodeJS.ProcessEnv
  buildVersion: string
  /** default: 64 at once and 1,024 with their output, see {@link processLimits} */
  limits?: Partial<ProcessTableLimits>
}

/** The number of processes that run at once, and that are kept with their output, running ones included. */
export type ProcessTableLimits = { [name in 'maxRunning' | 'maxKept']: number }

/** An ended process, until the timer fires. */
interface EndedProcess {
  process: HostedProcess
  expiryTimer: NodeJS.Timeout
}

/** Everything that an id may stand for. */
type Known = StartAttempt | HostedProcess | PastProcess

/**
 * The processes of this machine that an agent has started. Commands run as the agent's user and can read what the agent
 * can. An id goes one way:
 * ```
 * unknown ──start──▶ attempt ──spawned──▶ running ──ends──▶ ended ──5 min, or too many──▶ receipt
 *    │                  └──cancelled──▶ tombstone
 *    └──cancel──▶ tombstone
 * ```
 * An attempt that fails leaves the id unknown. Receipts and tombstones start nothing; beyond 16,384 the oldest are
 * forgotten.
 */
export class ProcessTable implements ProcessHost, HostedProcessEvents {
  readonly #info: AgentInfo
  readonly #env: NodeJS.ProcessEnv
  readonly #limits: ProcessTableLimits
  readonly #attempts = new Map<string, StartAttempt>()
  readonly #running = new Map<string, HostedProcess>()
  /** in the order of their ends */
  readonly #ended = new Map<string, EndedProcess>()
  readonly #past = new PastProcesses()
  /** processes that run, or whose background children hold the output open */
  readonly #open = new Set<HostedProcess>()
  /** background children of ended processes that write elsewhere; they outlive the kept output */
  readonly #left = new Set<ProcessTree>()
  #forgetting: Promise<unknown> | undefined
  #closing: Promise<void> | undefined

  constructor({ dir = process.cwd(), env = process.env, buildVersion, limits }: ProcessTableOptions) {
    this.#env = env
    this.#limits = { ...processLimits, ...limits }
    this.#info = {
      instanceId: randomUUID(),
      os: process.platform,
      home: homeOr(resolve(dir)),
      dir: resolve(dir),
      startedAt: new Date(),
      buildVersion,
    }
  }

  async info(): Promise<AgentInfo> {
    return { ...this.#info }
  }

  async start(input: StartProcess): Promise<StartedProcess> {
    const { id, scope } = input
    const inputHash = hashOfStart(input)
    const known = this.#find(id, scope)
    if (!known) {
      await this.#begin(input, inputHash)
      return { id, attached: false }
    }
    if (known.kind === 'tombstone') throw cancelled(id)
    if (known.inputHash !== inputHash) {
      throw rpcError('input_differs', `the id ${JSON.stringify(id)} was used to start something else`)
    }
    if (known.kind === 'attempt') await known.process
    return { id, attached: true }
  }

  async output({ id, scope, waitMs }: ReadProcess, call: ProcessCall): Promise<ProcessOutput> {
    const known = this.#known(id, scope)
    if (known.kind === 'tombstone') throw cancelled(id)
    if (known.kind === 'receipt') throw outputGone(id, known)
    const process = known.kind === 'attempt' ? await known.process : known
    await process.waitForEnd(waitMs, call)
    this.#ended.get(id)?.expiryTimer.refresh()
    return process.read()
  }

  async list({ scope }: ListProcesses): Promise<ProcessList> {
    const isVisible = (process: HostedProcess): boolean => scope === undefined || process.scope === scope
    const running = [...this.#running.values()].filter(isVisible)
    const ended = Array.from(this.#ended.values(), ({ process }) => process).filter(isVisible)
    const newest = [running, ended].flatMap(list => list.sort((a, b) => b.startedMs - a.startedMs))
    const processes = newest.slice(0, processLimits.maxListed).map(process => process.describe())
    return { processes, total: newest.length }
  }

  async signal({ id, scope, signal }: SignalProcess): Promise<SignalledProcess> {
    const known = this.#known(id, scope)
    const process = known.kind === 'attempt' ? await known.process : known
    if (process.kind !== 'process' || !process.isRunning) {
      throw rpcError('not_running', `the process ${JSON.stringify(id)} does not run`)
    }
    await process.signal(signal === 'kill' ? 'SIGKILL' : 'SIGTERM')
    return {}
  }

  async cancel({ id, scope, waitMs }: CancelProcess, call: ProcessCall): Promise<CancelledProcess> {
    const known = this.#find(id, scope)
    if (!known) this.#past.add(id, { kind: 'tombstone', scope })
    if (!known || known.kind === 'tombstone') return neverRan
    if (known.kind === 'receipt') throw outputGone(id, known)
    if (known.kind === 'attempt') known.cancel()
    // The caller of the start gets its error; for this one it means that nothing runs.
    const process = known.kind === 'attempt' ? await known.process.catch(() => undefined) : known
    if (!process) return neverRan
    process.terminate()
    await process.waitForEnd(waitMs, call)
    return { ran: true, ...process.read() }
  }

  /**
   * Ends all processes, by SIGTERM and, 5 s later, SIGKILL, background children of ended commands included. Nothing
   * starts any more. A second call gets the same promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#endAll('SIGTERM', processLimits.closeGraceMs)
    await this.#endAll('SIGKILL', processLimits.killedMs)
    for (const process of this.#open) process.release()
    for (const { process, expiryTimer } of this.#ended.values()) {
      process.release()
      clearTimeout(expiryTimer)
    }
  }

  /** Sends a signal to everything that is left, and waits for the end. */
  async #endAll(signal: EndSignal, waitMs: number): Promise<void> {
    const until = performance.now() + waitMs
    const open = [...this.#open]
    const signals = open.map(process => process.signal(signal))
    const leftSignals = Array.from(this.#left, tree => tree.signalKnown(signal))
    await Promise.all([...signals, ...leftSignals, ...open.map(process => process.waitForClose(waitMs))])
    // The system reports the end of children alone, not of children's children.
    while (await this.#forgetLeft()) {
      if (performance.now() > until) return
      await setTimeout(leftPollMs)
    }
  }

  /** Forgets background children that have ended, by one look for all; returns whether some are left. */
  async #forgetLeft(): Promise<boolean> {
    const forget = async (tree: ProcessTree) => {
      if (!(await tree.hasKnown())) this.#left.delete(tree)
    }
    await Promise.all(Array.from(this.#left, forget))
    return this.#left.size > 0
  }

  /** Called by a process as soon as it runs. */
  onStart(process: HostedProcess): void {
    this.#attempts.delete(process.id)
    this.#running.set(process.id, process)
    this.#open.add(process)
  }

  /** Called by a process at its end. */
  onEnd(process: HostedProcess): void {
    const { id } = process
    this.#running.delete(id)
    // A closing agent keeps no timer.
    const expiryTimer = backgroundTimer(() => this.#retire(id), processLimits.keptMs)
    this.#ended.set(id, { process, expiryTimer })
  }

  /** Called by a process that nobody holds open any more. */
  onClose(process: HostedProcess, left: ProcessTree | undefined): void {
    this.#open.delete(process)
    if (!left) return
    this.#forgetting ??= this.#forgetLeft().finally(() => {
      this.#forgetting = undefined
    })
    this.#left.add(left)
  }

  /** @throws RpcError unknown_process if the id belongs to another scope */
  #find(id: string, scope: string | undefined): Known | undefined {
    const known = this.#attempts.get(id) ?? this.#running.get(id) ?? this.#ended.get(id)?.process ?? this.#past.get(id)
    if (!known || scope === undefined || known.scope === scope) return known
    // An operator's tombstone is for everyone.
    if (known.kind === 'tombstone' && known.scope === undefined) return known
    throw unknownProcess(id)
  }

  /** @throws RpcError unknown_process */
  #known(id: string, scope: string | undefined): Known {
    const known = this.#find(id, scope)
    if (!known) throw unknownProcess(id)
    return known
  }

  async #begin(input: StartProcess, inputHash: string): Promise<void> {
    const { id, scope } = input
    const { maxRunning, maxKept } = this.#limits
    const running = this.#attempts.size + this.#running.size
    if (running >= maxRunning) {
      throw rpcError('too_many_processes', `${running} processes run, and at most ${maxRunning} may; end some first`)
    }
    const [oldest] = this.#ended.keys()
    if (oldest !== undefined && running + this.#ended.size >= maxKept) this.#retire(oldest)
    const attempt = new StartAttempt({ scope, inputHash }, attempt => this.#spawn(input, attempt))
    this.#attempts.set(id, attempt)
    await attempt.process
  }

  async #spawn(input: StartProcess, attempt: StartAttempt): Promise<HostedProcess> {
    const { id, scope, command, env } = input
    const dir = resolve(this.#info.dir, input.dir ?? '')
    try {
      await requireDirectory(dir)
      if (attempt.isCancelled) throw cancelled(id)
      if (this.#closing) throw rpcError('draining', 'the agent is closing')
      const line = { command, dir, env: commandEnvironment(this.#env, env, scope) }
      return await HostedProcess.start({ ...input, inputHash: attempt.inputHash }, line, this)
    } catch (error) {
      if (attempt.isCancelled) this.#past.add(id, { kind: 'tombstone', scope })
      throw error
    } finally {
      this.#attempts.delete(id)
    }
  }

  /** Forgets the output of an ended process. */
  #retire(id: string): void {
    const ended = this.#ended.get(id)
    if (!ended) return
    const { process, expiryTimer } = ended
    clearTimeout(expiryTimer)
    this.#ended.delete(id)
    const { scope, inputHash, exitCode } = process
    this.#past.add(id, { kind: 'receipt', scope, inputHash, exitCode })
  }
}

/** Between two looks for background children, while the agent closes. */
const leftPollMs = 20

const neverRan: CancelledProcess = { ran: false, running: false, output: '', durationMs: 0 }

/** Returns the home directory; the other one for a user of a container who has none, for whom Node throws. */
function homeOr(other: string): string {
  try {
    return homedir()
  } catch {
    return other
  }
}
