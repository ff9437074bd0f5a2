import type { JsonObject } from '../../../../shared/values/text.js'
import { anthropic } from '../../providers/anthropic.js'
import type { HiddenNames } from '../hidden-names.js'
import { type ProviderError, providerErrorText } from '../provider-error.js'
import { sumOfUsage } from '../usage-sums.js'
import { newRound, type Round } from './round.js'

/** The message that a client gets, over all rounds. */
export class ClientMessage {
  kind: 'stream' | 'body' | undefined
  readonly names: HiddenNames
  /** the rounds before the current one */
  readonly earlier: Round[] = []
  round: Round = newRound()
  /** the id of the first round's message */
  id: string | undefined
  /** whether the client has got its `message_start` */
  isStarted = false
  /** the index that the client's next block gets */
  nextIndex = 0
  /** whether the client's indexes may differ from the provider's: behind a hidden block, thus in all later rounds */
  isShifted = false
  /** the blocks of earlier bodies that the client gets */
  visible: Buffer[] = []
  /** whether the end of the response has been written: nothing follows it */
  hasEnded = false

  constructor(names: HiddenNames) {
    this.names = names
  }

  /** Returns the usage of all rounds. */
  get usage(): JsonObject {
    return [...this.earlier, this.round].map(({ usage }) => usage).reduce((sum, usage) => sumOfUsage(sum, usage))
  }

  /** Begins the next round. */
  begin(): void {
    this.round = newRound()
  }

  /** Returns the last bytes of a response that ends with an error. */
  error(kind: 'stream' | 'body', message: string, error?: ProviderError): Buffer {
    this.hasEnded = true
    const { errorBody } = anthropic
    const json = error ? providerErrorText(error, message, { type: 'error' }, errorBody) : errorBody(502, message)
    return Buffer.from(kind === 'body' ? json : `event: error\ndata: ${json}\n\n`)
  }
}
