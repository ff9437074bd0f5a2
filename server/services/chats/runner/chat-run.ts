/** One run of a chat: from the moment a server has taken the chat until it is at rest, or another server has it. */
import type { ChatError } from '../../../../shared/contract/chats.js'
import { ModelError } from '../../../../shared/contract/model-error.js'
import { abortable } from '../../../../shared/values/abortable.js'
import type { ChatRow } from '../../../store/store.js'
import { isNotAllowed } from '../chat-keys.js'
import type { EpisodeWriter } from '../episodes.js'
import type { ModelResponse } from '../model.js'
import type { Run, RunMessage, RunOutcome } from '../run-changes.js'
import { endOpenCommands } from './commands.js'
import { type History, modelRequestOf, openStepOf, stepsOf } from './history.js'
import { PartialResponse } from './partial-response.js'
import { decideRetry } from './retry-decision.js'
import { type Cut, callsToEnd, cutMessage, notAllowed } from './run-cut.js'
import type { RunnerParts } from './runner-parts.js'
import { StoreCalls } from './store-calls.js'
import { runToolStep } from './tool-step.js'

/**
 * ```
 * running ──turn ended, queue empty──▶ over
 *    │├──drain(): behind the step───▶ over, released by the runner
 *    └┴──another runner or fence────▶ over, nothing is committed
 * ```
 * A run reads everything from the store before each step, so any of its steps may be the first.
 */
export class ChatRun {
  readonly id: string
  readonly fence: number
  readonly ownerId: string
  /** Resolves when the run is over. Never rejects. */
  readonly over: Promise<void>
  readonly #parts: RunnerParts
  readonly #store: StoreCalls
  /** ends the step under way; a new one for each step */
  #work = new AbortController()
  /** ends waits of the whole run */
  readonly #end = new AbortController()
  /** ends waits between attempts */
  readonly #waits = new AbortController()
  #cut: Cut | undefined
  /** the newest version that was seen with this fence */
  #version: number
  #isDraining = false
  #isReleased = false

  constructor(parts: RunnerParts, row: ChatRow) {
    this.id = row.id
    this.fence = row.fence
    this.ownerId = row.ownerId
    this.#parts = parts
    this.#version = row.version
    this.#store = new StoreCalls(parts, this.#end.signal)
    this.over = this.#run().catch((error: unknown) => {
      parts.logger.error({ err: error, chatId: this.id }, 'a chat stopped running; another server may take it later')
    })
  }

  /** whether the chat is still held, so that its lease has to be released */
  get isHeld(): boolean {
    return !this.#isReleased && this.#cut?.kind !== 'lost'
  }

  /**
   * Takes a row of the chat that was read at any time; undefined: the chat was erased. An older row than the newest one
   * decides nothing: a renewal that was sent before an acquisition must not end the run that came after.
   */
  observe(row: ChatRow | undefined): void {
    if (!row) return this.#stop({ kind: 'lost' })
    if (row.version < this.#version) return
    this.#version = row.version
    const { runner } = this.#parts
    const isMine = row.runner === runner && row.fence === this.fence
    const isActive = row.status === 'running' || row.status === 'interrupting'
    // A turn that this run has just ended is at rest, and has no runner.
    if (!isMine && (isActive || row.fence > this.fence)) this.#stop({ kind: 'lost' })
    else if (isMine && row.status === 'interrupting') this.#stop({ kind: 'interrupt' })
  }

  /** Ends the turn with not_allowed. */
  forbid(): void {
    this.#stop({ kind: 'forbidden' })
  }

  /** Ends the run behind the step under way. A wait for the next attempt ends at once. */
  drain(): void {
    this.#isDraining = true
    this.#waits.abort()
  }

  /** Ends the run now, without a commit. */
  abandon(): void {
    this.#stop({ kind: 'abandoned' })
  }

  #stop(cut: Cut): void {
    const isFinal = this.#cut?.kind === 'lost' || this.#cut?.kind === 'abandoned'
    if (isFinal) return
    this.#cut = cut
    this.#work.abort()
    if (cut.kind === 'lost' || cut.kind === 'abandoned') this.#end.abort()
  }

  get #isEnded(): boolean {
    return this.#cut?.kind === 'lost' || this.#cut?.kind === 'abandoned'
  }

  async #run(): Promise<void> {
    while (!this.#isEnded) {
      const history = await this.#store.call('readHistory', store => store.readHistory(this.id))
      if (!history || this.#isEnded) return
      const { row } = history
      if (row.runner !== this.#parts.runner || row.fence !== this.fence) return this.#stop({ kind: 'lost' })
      if (row.status !== 'running' && row.status !== 'interrupting') {
        this.#isReleased = true
        return
      }
      if (row.status === 'running' && this.#isDraining) return
      await this.#step(history)
    }
  }

  /** Makes one step. Its commits decide about the next one, which reads the store again. */
  async #step(history: History): Promise<void> {
    this.#work = new AbortController()
    // A cut between two steps concerns this one, too.
    if (this.#cut?.kind === 'interrupt' && history.row.status !== 'interrupting') this.#cut = undefined
    if (this.#cut) this.#work.abort()
    const { historyVersion } = history.row
    const run: Run = { chatId: this.id, runner: this.#parts.runner, fence: this.fence, historyVersion }
    try {
      if (history.row.status === 'interrupting') {
        await endOpenCommands(this.#parts, history)
        await this.#finishInterrupt(run, [])
      } else if (this.#cut?.kind === 'forbidden') {
        await endOpenCommands(this.#parts, history)
        await this.#fail(run, notAllowed('the key of the chats was revoked'))
      } else if (openStepOf(history.messages)) await this.#callTools(run, history)
      else await this.#callModel(run, history)
    } catch (error) {
      // An interrupt has no failure: another server finishes it.
      if (this.#store.isGone(error) || this.#isEnded || history.row.status === 'interrupting') throw error
      this.#parts.logger.error({ err: error, chatId: this.id }, 'a step of a chat failed')
      await this.#fail(run, { reason: 'internal', message: 'the server failed; its log has the cause' })
    }
  }

  async #callModel(run: Run, history: History): Promise<void> {
    const { limits, now } = this.#parts
    const { row, messages } = history
    if (stepsOf(messages) >= limits.maxSteps) {
      const message = `the turn has had ${limits.maxSteps} calls of the model`
      return this.#fail(run, { reason: 'too_many_steps', message })
    }
    const waitMs = row.retry ? row.retry.at.getTime() - now().getTime() : 0
    // A cut and a drain end the wait.
    if (waitMs > 0) await this.#parts.pause(waitMs, AbortSignal.any([this.#work.signal, this.#waits.signal]))
    if (this.#work.signal.aborted || this.#isDraining) return
    const begun = await this.#begin(run, row, limits.maxAttempts)
    if (!begun) return
    const keyId = await this.#keyOf(run, row)
    if (keyId === undefined) return
    const episode = this.#parts.episodes.begin({
      chatId: this.id,
      historyVersion: run.historyVersion,
      attempt: begun.attempt,
    })
    try {
      await this.#attempt(run, history, begun.attempt, keyId, episode)
    } finally {
      episode.end()
    }
  }

  /** Counts an attempt; undefined if the run has no place for it. */
  async #begin(run: Run, row: ChatRow, limit: number): Promise<ChatRow | undefined> {
    if (row.attempt >= limit) {
      const message = `the turn was begun ${row.attempt} times without a result`
      await this.#fail(run, { reason: 'too_many_attempts', message })
      return undefined
    }
    const outcome = await this.#store.change(changes => changes.beginAttempt(run))
    return outcome.state === 'done' ? this.#noted(outcome).row : undefined
  }

  async #keyOf(run: Run, row: ChatRow): Promise<string | undefined> {
    try {
      return await this.#store.call('keys', () => this.#parts.keys.open(row.ownerId), isNotAllowed)
    } catch (error) {
      if (!isNotAllowed(error)) throw error
      await this.#fail(run, notAllowed(error instanceof Error ? error.message : String(error)))
      return undefined
    }
  }

  async #attempt(run: Run, history: History, attempt: number, keyId: string, episode: EpisodeWriter): Promise<void> {
    const { models, now, random, limits, logger } = this.#parts
    const { signal } = this.#work
    const partial = new PartialResponse()
    let interceptionId: string | null = null
    let response: ModelResponse
    try {
      const called = models.call(modelRequestOf(history, keyId), {
        signal,
        onPart: part => {
          if (signal.aborted) return
          partial.add(part)
          episode.add(part)
        },
        onInterception: id => {
          interceptionId = id
        },
      })
      // A model that ignores the signal is not waited for.
      response = await abortable(called, signal)
    } catch (error) {
      if (this.#cut?.kind === 'interrupt') return this.#finishInterrupt(run, cutMessage(partial, interceptionId))
      if (this.#cut?.kind === 'forbidden') return this.#fail(run, notAllowed('the key of the chats was revoked'))
      if (signal.aborted) return
      if (!(error instanceof ModelError)) throw error
      const decision = decideRetry(error, attempt, now(), random(), limits)
      if (decision.kind === 'fail') return this.#fail(run, decision.error)
      logger.info({ err: error, chatId: this.id, attempt, waitMs: decision.waitMs }, 'a call of a model is repeated')
      const at = new Date(now().getTime() + decision.waitMs)
      const retry = { attempt, at, reason: error.reason, message: error.message }
      const noted = await this.#store.change(changes => changes.noteRetry(run, retry))
      if (noted.state === 'done') this.#noted(noted)
      this.#parts.onEvent('retry')
      return
    }
    const { parts, usage, finishReason } = response
    const message: RunMessage = { role: 'assistant', parts, usage, finishReason, interceptionId, interrupted: false }
    const hasCalls = parts.some(({ type }) => type === 'tool-call')
    const outcome = await this.#store.change(changes =>
      hasCalls ? changes.commitStep(run, [message]) : changes.finishTurn(run, [message]),
    )
    if (outcome.state === 'done') this.#noted(outcome)
    // The whole response came before the interrupt was seen.
    else if (outcome.state === 'interrupting') await this.#finishInterrupt(run, [message])
  }

  async #callTools(run: Run, history: History): Promise<void> {
    const { row } = history
    const step = openStepOf(history.messages)
    if (!step) return
    const begun = await this.#begin(run, row, this.#parts.limits.maxToolAttempts)
    if (!begun) return
    const episode = this.#parts.episodes.begin({
      chatId: this.id,
      historyVersion: run.historyVersion,
      attempt: begun.attempt,
    })
    try {
      const results = await runToolStep(
        this.#parts,
        {
          chatId: this.id,
          ...step,
          agent: row.agentId === null ? undefined : { agentId: row.agentId, cwd: row.cwd },
          signal: this.#work.signal,
          callsToEnd: open =>
            callsToEnd(open, this.#cut, () => this.#store.call('readHistory', store => store.readHistory(this.id))),
          instanceId: row.agentInstance,
          noteInstance: async instance => {
            const noted = await this.#store.change(changes => changes.noteAgentInstance(run, instance))
            return noted.state === 'done'
          },
        },
        episode,
      )
      if (!results || this.#isEnded) return
      const message: RunMessage = { role: 'tool', parts: results }
      if (this.#cut?.kind === 'interrupt') return await this.#finishInterrupt(run, [message])
      const outcome = await this.#store.change(changes => changes.commitStep(run, [message]))
      if (outcome.state === 'done') this.#noted(outcome)
      else if (outcome.state === 'interrupting') await this.#finishInterrupt(run, [message])
    } finally {
      episode.end()
    }
  }

  async #finishInterrupt(run: Run, messages: readonly RunMessage[]): Promise<void> {
    const outcome = await this.#store.change(changes => changes.finishInterrupt(run, messages))
    if (this.#cut?.kind === 'interrupt') this.#cut = undefined
    if (outcome.state === 'done') this.#noted(outcome)
  }

  /** Ends the turn by a failure. An interrupt that came before is finished by the next step. */
  async #fail(run: Run, error: ChatError): Promise<void> {
    const outcome = await this.#store.change(changes => changes.failTurn(run, error))
    if (outcome.state === 'done') this.#noted(outcome)
  }

  #noted<T extends Extract<RunOutcome, { row: ChatRow }>>(outcome: T): T {
    this.#version = Math.max(this.#version, outcome.row.version)
    return outcome
  }
}
