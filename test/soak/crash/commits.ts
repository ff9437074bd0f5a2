/** When the control plane committed the end of each request, by the lines of its structured log. */
import type { Exchanges } from './exchanges.js'

/** Reads the log of control planes that run with `--structured-logging`. */
export class Commits {
  readonly #exchanges: Exchanges
  /** id of an interception → tag of the request */
  readonly #tags = new Map<string, string>()

  constructor(exchanges: Exchanges) {
    this.#exchanges = exchanges
  }

  /** Takes one line. A record is logged when its transaction is committed, and once more when it is sent again. */
  take(line: string): void {
    if (!line.includes('"interception log"')) return
    const { record_type: type, interceptionId, clientSessionId, time } = JSON.parse(line)
    if (type === 'interception_start') this.#tags.set(interceptionId, clientSessionId)
    if (type !== 'interception_end') return
    const exchange = this.#exchanges.get(this.#tags.get(interceptionId) ?? '')
    if (!exchange || exchange.committedAt !== undefined) return
    exchange.committedAt = time - performance.timeOrigin
    this.#exchanges.note('committed', exchange)
  }
}
