/** The stream of a session, or of the connection, and the messages that belong to it. */
import type { AcpMessage } from '../../../shared/acp/messages.js'
import type { LiveStream } from './live-stream.js'

/** A message on its way to the server. */
export interface Post {
  readonly message: AcpMessage
  readonly text: string
  readonly bytes: number
  /** the header `Acp-Session-Id` */
  readonly sessionId: string | undefined
}

/** Posts one message after the other, each when the one before has its response: the server sees them in order. */
export class Channel {
  readonly stream: LiveStream
  readonly #post: (post: Post) => Promise<void>
  readonly #queue: Post[] = []
  #running: Promise<void> | undefined

  /** @param post never rejects */
  constructor(stream: LiveStream, post: (post: Post) => Promise<void>) {
    this.stream = stream
    this.#post = post
  }

  /** Resolves when no message is under way. */
  get idle(): Promise<void> {
    return this.#running ?? Promise.resolve()
  }

  /** Queues a message. */
  send(post: Post): void {
    this.#queue.push(post)
    this.#running ??= this.#run()
  }

  /** Takes all messages out that were not posted. */
  drop(): Post[] {
    return this.#queue.splice(0)
  }

  async #run(): Promise<void> {
    // The first responses come at once: a stream that is opened later would have to fetch them.
    await this.stream.opened
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) await this.#post(next)
    this.#running = undefined
  }
}
