/** The live parts that a watcher follows, one at a time. */
import type { Logger } from '../../../../shared/values/log.js'
import type { Episode, EpisodeEvent, LivePartsOf } from '../live-parts.js'
import type { FollowTarget } from './watcher-state.js'

/** Settings of {@link PartFollower}. */
export interface PartFollowerOptions {
  livePartsOf: LivePartsOf
  logger: Logger
  /** notifies the watcher of an event to take, or of an end behind which it should look at the database */
  wake: () => void
}

/** First and longest pause before an episode is followed again whose events ended without `ended` or `cut`. */
const againMinMs = 50
const againMaxMs = 5_000

/** One subscription. */
interface Following {
  target: FollowTarget
  abort: AbortController
  events: AsyncIterator<EpisodeEvent>
}

/**
 * Follows the parts of one episode. Nothing here waits: an event that has arrived is taken by {@link take}, and only
 * then the next one is asked for, so a slow watcher holds one event.
 */
export class PartFollower {
  readonly #options: PartFollowerOptions
  /** the last one that was aimed at */
  #target: FollowTarget | undefined
  #following: Following | undefined
  #event: { episode: Episode; event: EpisodeEvent } | undefined
  /** before the target is followed again */
  #pause: NodeJS.Timeout | undefined
  #againMs = againMinMs

  constructor(options: PartFollowerOptions) {
    this.#options = options
  }

  /**
   * Follows a target behind its last part; another runner or episode drops the old subscription first. Pauses grow
   * until an event arrives or the target is another one.
   */
  aim(target: FollowTarget | undefined): void {
    if (!isSame(this.#target, target)) this.stop()
    this.#target = target
    if (target && !this.#following && !this.#pause) this.#follow(target)
  }

  /** Returns the event that has arrived, if any, and asks for the next one. */
  take(): { episode: Episode; event: EpisodeEvent } | undefined {
    const taken = this.#event
    this.#event = undefined
    if (taken && this.#following) this.#ask(this.#following)
    return taken
  }

  /** Ends the subscription. */
  stop(): void {
    this.#drop()
    clearTimeout(this.#pause)
    this.#pause = undefined
    this.#target = undefined
    this.#againMs = againMinMs
  }

  #follow(target: FollowTarget): void {
    const liveParts = this.#options.livePartsOf(target.runner)
    if (!liveParts) return this.#again()
    const abort = new AbortController()
    const events = liveParts.follow(target.episode, target.after, abort.signal)[Symbol.asyncIterator]()
    this.#following = { target, abort, events }
    this.#ask(this.#following)
  }

  #ask(following: Following): void {
    following.events.next().then(
      ({ done, value }) => {
        if (this.#following !== following) return
        if (done) return this.#end()
        this.#againMs = againMinMs
        this.#event = { episode: following.target.episode, event: value }
        this.#options.wake()
      },
      (err: unknown) => {
        if (this.#following !== following) return
        this.#options.logger.debug({ err, server: following.target.runner }, 'the live parts of a chat were cut off')
        this.#end()
      },
    )
  }

  #end(): void {
    this.#drop()
    this.#again()
  }

  /** The watcher aims anew behind the pause: at the next part of the same episode, unless the database has moved on. */
  #again(): void {
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#options.wake()
    }, this.#againMs)
    this.#againMs = Math.min(this.#againMs * 2, againMaxMs)
  }

  #drop(): void {
    const dropped = this.#following
    this.#following = undefined
    this.#event = undefined
    if (!dropped) return
    dropped.abort.abort()
    // A generator that waits ends by its signal.
    dropped.events.return?.().catch(() => {})
  }
}

/** The place within the episode does not count: the subscription itself goes on behind it. */
function isSame(one: FollowTarget | undefined, other: FollowTarget | undefined): boolean {
  if (!one || !other) return one === other
  const [a, b] = [one.episode, other.episode]
  return one.runner === other.runner && a.historyVersion === b.historyVersion && a.attempt === b.attempt
}
