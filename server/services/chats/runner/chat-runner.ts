/** The chats that this server runs. */
import { randomUUID } from 'node:crypto'
import { chatLimits } from '../../../../shared/contract/limits.js'
import { abortablePause } from '../../../../shared/values/abortable.js'
import type { ChatRow } from '../../../store/store.js'
import { isNotAllowed } from '../chat-keys.js'
import { ChatRun } from './chat-run.js'
import type { RunnerLimits, RunnerParts } from './runner-parts.js'

/** Parts of {@link ChatRunner}; `runner` is by default a new id. */
export interface ChatRunnerOptions
  extends Pick<RunnerParts, 'store' | 'changes' | 'models' | 'keys' | 'hosts' | 'episodes' | 'logger'>,
    Partial<Pick<RunnerParts, 'runner' | 'now' | 'random' | 'pause' | 'onEvent'>> {
  limits?: Partial<RunnerLimits>
}

/** The end of the leases at shutdown is not waited for longer: a dead store gets no more. */
const releaseMs = 2_000

/**
 * Takes chats that wait for a server, on each change of a chat and every 5 s, and runs up to 16 at a time. Leases of
 * all running chats are renewed every 10 s in one statement, whose response also ends runs that another server has
 * taken. No failure of the store ends the runner.
 * ```
 * new ──start()──▶ taking ──close()──▶ draining ──steps have ended, or the grace──▶ closed
 * ```
 */
export class ChatRunner {
  readonly #parts: RunnerParts
  /** by chat: the newest run, until it is over */
  readonly #running = new Map<string, ChatRun>()
  /** runs that are not over, those included that another run of their chat has replaced */
  readonly #runs = new Set<ChatRun>()
  readonly #timers = new Set<NodeJS.Timeout>()
  /** by chat: the newest interrupt that this server has stored, until the time of its takeover */
  readonly #takeovers = new Map<string, { historyVersion: number; timer: NodeJS.Timeout }>()
  /** releases under way */
  readonly #releases = new Set<Promise<void>>()
  readonly #loops: { acquire: Coalesced; renew: Coalesced; checkKeys: Coalesced }
  #stopListening: (() => void) | undefined
  #closed: Promise<void> | undefined

  constructor({ limits, ...parts }: ChatRunnerOptions) {
    this.#parts = {
      runner: randomUUID(),
      now: () => new Date(),
      onEvent: () => {},
      random: Math.random,
      pause: abortablePause,
      ...parts,
      limits: { ...chatLimits, ...limits },
    }
    const failed = (operation: string) => (error: unknown) =>
      parts.logger.warn({ err: error, operation }, 'the store failed under the runner of chats')
    this.#loops = {
      acquire: new Coalesced(() => this.#acquire(), failed('acquire')),
      renew: new Coalesced(() => this.#renew(), failed('renew')),
      checkKeys: new Coalesced(() => this.#checkKeys(), failed('keys')),
    }
  }

  /** id by which chats name this server */
  get id(): string {
    return this.#parts.runner
  }

  /** number of running chats */
  get running(): number {
    return this.#running.size
  }

  /** Begins to take chats. */
  start(): void {
    if (this.#stopListening || this.#closed) return
    const { store, limits } = this.#parts
    this.#stopListening = store.onChatChange(chatId => {
      if (chatId === null || this.#running.has(chatId)) this.#loops.renew.run()
      if (chatId === null || !this.#running.has(chatId)) this.#loops.acquire.run()
    })
    this.#every(limits.pollMs, this.#loops.acquire)
    this.#every(limits.renewMs, this.#loops.renew)
    this.#every(limits.keyCheckMs, this.#loops.checkKeys)
    this.#loops.acquire.run()
  }

  /**
   * Notes that this server has stored an interrupt, or has seen one. A chat whose server has not finished it 3 s later,
   * which may be dead, is taken and finished here. A repeat does not put that off; a later interrupt of the chat, at
   * another history version, has a time of its own.
   */
  interrupted({ id, historyVersion }: Pick<ChatRow, 'id' | 'historyVersion'>): void {
    if (this.#closed || !this.#stopListening) return
    const known = this.#takeovers.get(id)
    if (known && known.historyVersion >= historyVersion) return
    clearTimeout(known?.timer)
    const timer = setTimeout(() => {
      this.#takeovers.delete(id)
      this.#finishInterrupt(id, historyVersion).catch((error: unknown) =>
        this.#parts.logger.warn({ err: error, chatId: id }, 'an interrupted chat could not be taken'),
      )
    }, this.#parts.limits.interruptTakeoverMs)
    this.#takeovers.set(id, { historyVersion, timer })
  }

  /**
   * Takes no more chats, and waits for the steps under way, at most `graceMs`; then steps are cut off. Chats that are
   * not at rest may be taken by another server at once. A second call gets the same promise.
   */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closed ??= this.#close(graceMs)
    return this.#closed
  }

  async #close(graceMs: number): Promise<void> {
    this.#stopListening?.()
    for (const { timer } of this.#takeovers.values()) clearTimeout(timer)
    this.#takeovers.clear()
    for (const run of this.#runs) run.drain()
    const over = new AbortController()
    const drained = this.#loops.acquire
      .settled()
      .then(() => this.#allOver())
      .then(() => over.abort())
    await abortablePause(graceMs, over.signal)
    for (const timer of this.#timers) clearInterval(timer)
    const held = [...this.#runs]
    for (const run of held) run.abandon()
    const rest = this.#release(held)
    const late = new AbortController()
    const done = Promise.all([drained, rest, ...this.#releases]).then(() => late.abort())
    await abortablePause(releaseMs, late.signal)
    if (!late.signal.aborted) this.#parts.logger.warn({ chats: held.length }, 'leases of chats were not ended in time')
    done.catch(() => {}) // logged by the release
  }

  async #allOver(): Promise<void> {
    while (this.#runs.size > 0) await Promise.all([...this.#runs].map(run => run.over))
  }

  #release(runs: readonly ChatRun[]): Promise<void> {
    const chats = runs.filter(run => run.isHeld).map(({ id, fence }) => ({ id, fence }))
    if (chats.length === 0) return Promise.resolve()
    const release = this.#parts.store
      .releaseChats({ runner: this.#parts.runner, chats })
      .catch((error: unknown) => this.#parts.logger.warn({ err: error }, 'leases of chats could not be ended'))
      .finally(() => this.#releases.delete(release))
    this.#releases.add(release)
    return release
  }

  #every(ms: number, loop: Coalesced): void {
    const timer = setInterval(() => loop.run(), ms)
    timer.unref()
    this.#timers.add(timer)
  }

  async #acquire(): Promise<void> {
    const { store, limits, runner } = this.#parts
    const limit = limits.maxRunning - this.#running.size
    if (limit <= 0 || this.#closed) return
    this.#take(await store.acquireChats({ runner, limit, leaseMs: limits.leaseMs }))
  }

  async #finishInterrupt(id: string, interruptedAt: number): Promise<void> {
    const { store, runner, limits } = this.#parts
    const row = await store.takeChat({ id, runner, leaseMs: limits.leaseMs, interruptedAt })
    if (row) this.#take([row])
  }

  #take(rows: readonly ChatRow[]): void {
    if (rows.length === 0) return
    // A chat that was taken while this server closes is released again.
    for (const row of rows) {
      this.#running.get(row.id)?.observe(row)
      // An attempt was made, or an interrupt noted, under an earlier fence.
      if (row.attempt > 0 || row.status === 'interrupting') this.#parts.onEvent('takeover')
      const run = new ChatRun(this.#parts, row)
      this.#running.set(row.id, run)
      this.#runs.add(run)
      if (this.#closed) run.drain()
      void run.over.then(() => this.#over(run))
    }
  }

  #over(run: ChatRun): void {
    this.#runs.delete(run)
    if (this.#running.get(run.id) === run) this.#running.delete(run.id)
    if (this.#closed && run.isHeld) void this.#release([run])
    // Room for another chat, and for one that has changed while its run ended.
    if (!this.#closed) this.#loops.acquire.run()
  }

  async #renew(): Promise<void> {
    const { store, runner, limits } = this.#parts
    const sent = [...this.#running.values()]
    if (sent.length === 0) return
    const rows = await store.renewChats({
      runner,
      chats: sent.map(({ id, fence }) => ({ id, fence })),
      leaseMs: limits.leaseMs,
    })
    const byId = new Map(rows.map(row => [row.id, row]))
    for (const { id, fence } of sent) {
      const run = this.#running.get(id)
      // A row that is missing was erased; a run that began since then was taken from a row behind it.
      if (run && (byId.has(id) || run.fence === fence)) run.observe(byId.get(id))
    }
  }

  async #checkKeys(): Promise<void> {
    const { keys } = this.#parts
    const runs = [...this.#running.values()]
    const owners = new Map<string, ChatRun[]>()
    for (const run of runs) owners.set(run.ownerId, [...(owners.get(run.ownerId) ?? []), run])
    await Promise.all(
      [...owners].map(async ([ownerId, ofOwner]) => {
        try {
          await keys.open(ownerId)
        } catch (error) {
          if (!isNotAllowed(error)) throw error
          for (const run of ofOwner) run.forbid()
        }
      }),
    )
  }
}

/** Work that is started again and again, one at a time: a start during the work means one more time. */
class Coalesced {
  readonly #work: () => Promise<void>
  readonly #onError: (error: unknown) => void
  #state: 'idle' | 'working' | 'again' = 'idle'
  #current: Promise<void> | undefined

  constructor(work: () => Promise<void>, onError: (error: unknown) => void) {
    this.#work = work
    this.#onError = onError
  }

  /** Resolves when no work is under way. */
  async settled(): Promise<void> {
    while (this.#current) await this.#current
  }

  /** Starts the work, or notes that it has to be done once more. Never throws. */
  run(): void {
    if (this.#state !== 'idle') {
      this.#state = 'again'
      return
    }
    this.#state = 'working'
    this.#current = this.#work()
      .catch(this.#onError)
      .then(() => {
        const isAgain = this.#state === 'again'
        this.#state = 'idle'
        this.#current = undefined
        if (isAgain) this.run()
      })
  }
}
