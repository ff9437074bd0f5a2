import type { ClientBytes, MergedResponse, StreamRound, Verdict } from '../round-bytes.js'
import { endBodyRound } from './body-round.js'
import { ClientMessage } from './client-message.js'
import { MessageStream } from './stream-round.js'

/** The response of a client of Messages, over all its rounds. */
export class AnthropicResponse extends ClientMessage implements MergedResponse {
  #stream: MessageStream | undefined

  override begin(): void {
    super.begin()
    this.#stream = undefined
  }

  stream(out: ClientBytes): StreamRound {
    this.#stream = new MessageStream(this, out)
    return this.#stream
  }

  body(bytes: Buffer, out: ClientBytes): Verdict {
    return endBodyRound(this, bytes, out)
  }

  /** Brings the blocks of the round up to date, for a client that leaves. */
  settle(): void {
    this.#stream?.settle()
  }
}
