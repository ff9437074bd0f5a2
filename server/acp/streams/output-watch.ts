/** Holds an agent back while its client leaves output unread, and finds a client that reads nothing at all. */

/** The parts of a connection that a watch acts on. */
export interface WatchedOutput {
  /** Asks the agent for a pause. */
  hold(): void
  /** Lets the agent go on. */
  release(): void
  /** Ends the connection of a client that has read no byte for `slowReaderMs`, or left too much unread. */
  onSlowReader(message: string): void
}

/** Bounds of a watch. */
export interface WatchLimits {
  readonly highWaterMarkBytes: number
  readonly maxBufferedBytes: number
  readonly slowReaderMs: number
}

/**
 * ```
 * flowing ──more than highWaterMarkBytes unread──▶ held ──half of it or less──▶ flowing
 *                                                    └──no byte read for slowReaderMs──▶ over
 * ```
 * More than `maxBufferedBytes` are unread only behind an agent that goes on although it is held.
 */
export class OutputWatch {
  readonly #output: WatchedOutput
  readonly #limits: WatchLimits
  #state: 'flowing' | 'held' | 'over' = 'flowing'
  #unread = 0
  #timer: NodeJS.Timeout | undefined

  constructor(output: WatchedOutput, limits: WatchLimits) {
    this.#output = output
    this.#limits = limits
  }

  /** bytes of output that the system has not taken */
  get unreadBytes(): number {
    return this.#unread
  }

  get isHeld(): boolean {
    return this.#state === 'held'
  }

  /** Notes a change of the unread bytes. */
  onUnread(change: number): void {
    this.#unread += change
    const { highWaterMarkBytes, maxBufferedBytes } = this.#limits
    if (this.#state === 'flowing' && this.#unread > highWaterMarkBytes) this.#hold()
    if (this.#state !== 'held') return
    if (this.#unread > maxBufferedBytes) {
      const unread = this.#unread.toLocaleString('en')
      const limit = maxBufferedBytes.toLocaleString('en')
      return this.#end(`${unread} bytes are unread, more than maxBufferedBytes ${limit}`)
    }
    if (this.#unread <= highWaterMarkBytes / 2) this.#release()
    else if (change < 0) this.onRead()
  }

  /** Notes that the client has read something. */
  onRead(): void {
    if (this.#state === 'held') this.#timer?.refresh()
  }

  stop(): void {
    this.#state = 'over'
    clearTimeout(this.#timer)
  }

  #hold(): void {
    const { slowReaderMs } = this.#limits
    this.#state = 'held'
    this.#timer = setTimeout(() => {
      const unread = this.#unread.toLocaleString('en')
      this.#end(`${unread} bytes are unread, and the client has read none for ${slowReaderMs.toLocaleString('en')} ms`)
    }, slowReaderMs).unref()
    this.#output.hold()
  }

  #release(): void {
    this.#state = 'flowing'
    clearTimeout(this.#timer)
    this.#output.release()
  }

  #end(message: string): void {
    this.stop()
    this.#output.onSlowReader(message)
  }
}
