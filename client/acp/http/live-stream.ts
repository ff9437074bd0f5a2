/** A stream of events that is opened again when it breaks off. */
import type { Readable } from 'node:stream'
import { acpError } from '../../../shared/acp/errors.js'
import type { AcpMessage } from '../../../shared/acp/messages.js'
import { now } from '../../../shared/rpc/deadlines.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import { Backoff } from '../backoff.js'
import { HttpRejection } from '../rejection.js'
import { EventReader } from './event-reader.js'

/** The parts of a client that a stream needs. */
export interface StreamSource {
  /**
   * Sends the GET, and returns the body of its response.
   * @param lastEventId behind which the stream goes on; undefined: where it stands
   * @throws RpcError, {@link HttpRejection} for another status than 200
   */
  open(lastEventId: string | undefined, timeoutMs: number): Promise<Readable>
  onMessage(message: AcpMessage, bytes: number): void
  /** Called once, instead of a further attempt. */
  onFailed(error: RpcError<string>): void
}

/** Settings of {@link LiveStream}. */
export interface StreamSettings {
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  readonly responseTimeoutMs: number
  readonly steadyMs: number
  readonly lostAfterMs: number
  readonly maxMessageBytes: number
  readonly random: () => number
}

type State = 'opening' | 'open' | 'waiting' | 'over'

/**
 * ```
 * opening ──200──▶ open ──its end, a cut──▶ waiting ──backoff──▶ opening
 *    ├──no connection, no response, 5xx, 409──▶ waiting
 *    └──another status, 409 stream_gap──▶ over
 * waiting ──lostAfterMs since a stream was of use──▶ over
 * any ──stop()──▶ over
 * ```
 * A stream without a byte for `lostAfterMs` is cut: servers send comments meanwhile, and a connection whose far end has
 * gone without a word looks open. A stream is of use from its first event on, or when it has lived `steadyMs`: a server
 * that accepts every GET and ends it at once is given up too.
 */
export class LiveStream {
  /** Resolves when the stream is open for the first time, or over. */
  readonly opened: Promise<void>
  readonly #source: StreamSource
  readonly #settings: StreamSettings
  readonly #backoff: Backoff
  #state: State = 'opening'
  #noteOpened: () => void = () => {}
  #body: Readable | undefined
  #endWait: () => void = () => {}
  #isPaused = false
  /** runs while a stream is open and not paused */
  #silence: NodeJS.Timeout | undefined
  #lastEventId = ''
  /** Whether the server may have sent events of this stream. */
  #mayHaveBegun = false
  #usefulAt = now()

  constructor(source: StreamSource, settings: StreamSettings) {
    this.#source = source
    this.#settings = settings
    this.#backoff = new Backoff(settings, settings.random)
    this.opened = new Promise(resolve => {
      this.#noteOpened = resolve
    })
    void this.#run()
  }

  get state(): State {
    return this.#state
  }

  /** Reads no longer; nothing is called afterwards. */
  stop(): void {
    this.#state = 'over'
    this.#noteOpened()
    this.#endWait()
    this.#body?.destroy()
  }

  pause(): void {
    this.#isPaused = true
    this.#body?.pause()
    clearTimeout(this.#silence)
  }

  resume(): void {
    this.#isPaused = false
    this.#body?.resume()
    this.#awaitBytes()
  }

  async #run(): Promise<void> {
    while (this.#state !== 'over') {
      const problem = await this.#attempt()
      if (this.#isOver) return
      const leftMs = this.#usefulAt + this.#settings.lostAfterMs - now()
      if (!isTemporary(problem)) return this.#fail(problem)
      if (leftMs <= 0) return this.#fail(lost(problem, this.#settings.lostAfterMs))
      this.#state = 'waiting'
      await this.#wait(Math.min(leftMs, this.#backoff.next(retryAfterOf(problem))))
      if (this.#isOver) return
      this.#state = 'opening'
    }
  }

  /** Asked after each await. */
  get #isOver(): boolean {
    return this.#state === 'over'
  }

  /** Opens the stream, reads it to its end, and returns why it has ended. */
  async #attempt(): Promise<RpcError<string>> {
    const { responseTimeoutMs, lostAfterMs, steadyMs } = this.#settings
    const leftMs = this.#usefulAt + lostAfterMs - now()
    try {
      const lastEventId = this.#mayHaveBegun ? this.#lastEventId || '0' : undefined
      this.#body = await this.#source.open(lastEventId, Math.max(1, Math.min(responseTimeoutMs, leftMs)))
    } catch (thrown) {
      const problem = RpcError.from(thrown)
      // Without the id, events that a lost response carried would be skipped.
      if (problem.mayHaveRun === true || problem.reason === 'stream_taken') this.#mayHaveBegun = true
      return problem
    }
    if (this.#isOver) {
      this.#body.destroy()
      return lost(undefined, 0)
    }
    this.#mayHaveBegun = true
    this.#state = 'open'
    this.#noteOpened()
    const openedAt = now()
    const end = await this.#read(this.#body)
    this.#body = undefined
    if (now() - openedAt >= steadyMs) this.#noteUse()
    return end
  }

  #noteUse(): void {
    this.#backoff.reset()
    this.#usefulAt = now()
  }

  #awaitBytes(): void {
    clearTimeout(this.#silence)
    const body = this.#body
    if (!body || this.#isPaused) return
    const { lostAfterMs } = this.#settings
    const limit = lostAfterMs.toLocaleString('en')
    this.#silence = setTimeout(() => body.destroy(new Error(`no byte for ${limit} ms`)), lostAfterMs)
  }

  #read(body: Readable): Promise<RpcError<string>> {
    return new Promise(resolve => {
      const reader = new EventReader(
        (message, bytes) => {
          this.#noteUse()
          if (!this.#isOver) this.#source.onMessage(message, bytes)
        },
        this.#settings.maxMessageBytes,
        this.#lastEventId,
      )
      let problem: RpcError<string> | undefined
      let cause: unknown
      body.on('data', (chunk: Buffer) => {
        this.#silence?.refresh()
        if (problem || this.#isOver) return
        try {
          reader.push(chunk)
        } catch (thrown) {
          problem = RpcError.from(thrown)
          body.destroy()
        }
        this.#lastEventId = reader.lastEventId
      })
      body.on('error', (error: Error) => {
        cause = error
      })
      body.once('close', () => {
        clearTimeout(this.#silence)
        resolve(problem ?? acpError('response_lost', 'the stream broke off', { cause }))
      })
      if (this.#isPaused) body.pause()
      this.#awaitBytes()
    })
  }

  #wait(ms: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#endWait = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #fail(error: RpcError<string>): void {
    this.#state = 'over'
    this.#source.onFailed(error)
    this.#noteOpened()
  }
}

/** Whether another attempt may succeed. */
function isTemporary(problem: RpcError<string>): boolean {
  if (problem instanceof HttpRejection) {
    // A server without reasons responds with 409 while another GET is open, as that of the official SDK does.
    return problem.status >= 500 || (problem.status === 409 && problem.reason !== 'stream_gap')
  }
  return problem.reason === 'unreachable' || problem.reason === 'response_lost' || problem.reason === 'response_timeout'
}

function retryAfterOf(problem: RpcError<string>): number {
  return problem instanceof HttpRejection ? (problem.retryAfterMs ?? 0) : 0
}

function lost(cause: RpcError<string> | undefined, lostAfterMs: number): RpcError<string> {
  const limit = lostAfterMs.toLocaleString('en')
  const why = cause === undefined ? '' : `: ${cause.message}`
  return acpError('stream_lost', `no stream of the server for ${limit} ms${why}`, { cause })
}
