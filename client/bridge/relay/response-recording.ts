import type { Logger } from '../../../shared/values/log.js'
import type { BridgeMetrics } from '../metrics/metrics.js'
import { errorTypeOfStatus, type Failure } from '../providers/error-type.js'
import type { BridgedRoute, ResponseFacts } from '../providers/provider-api.js'
import { Inspection } from '../recording/inspection.js'
import type { Recording } from '../recording/recorder.js'
import type { ResponseHead } from '../wire/headers.js'
import type { ResponseObserver } from './relay.js'

/** Options of {@link ResponseRecording}. */
export interface ResponseRecordingOptions {
  recording: Recording
  route: BridgedRoute
  /** see {@link InspectionOptions} */
  maxBytes: number
  logger: Logger
  metrics: Pick<BridgeMetrics, 'firstByte'>
  /** name of the provider */
  provider: string
}

/**
 * Records the response that passes a relay, and the end of the interception, once. The object is made when the provider
 * is called.
 */
export class ResponseRecording implements ResponseObserver {
  readonly #options: ResponseRecordingOptions
  readonly #calledAt = performance.now()
  #status: number | undefined
  #inspection: Inspection | undefined
  #finished: Promise<void> | undefined

  constructor(options: ResponseRecordingOptions) {
    this.#options = options
  }

  head(head: ResponseHead): void {
    const { route, maxBytes, logger, metrics, provider } = this.#options
    metrics.firstByte(provider, (performance.now() - this.#calledAt) / 1000)
    this.#status = head.status
    this.#inspection = new Inspection({ head, reader: route.createResponseReader(), maxBytes, logger })
  }

  chunk(chunk: Buffer): boolean {
    return this.#inspection?.write(chunk) ?? false
  }

  beforeLastBytes(): Promise<void> {
    return this.finish(undefined)
  }

  /**
   * Ends the interception. Resolves when the records are in the outbox. Only the first call counts.
   * @param failure the reason of a bad end that the provider's response does not show
   */
  finish(failure: Failure | undefined): Promise<void> {
    this.#finished ??= this.#finish(failure)
    return this.#finished
  }

  async #finish(failure: Failure | undefined): Promise<void> {
    const facts = (await this.#inspection?.end()) ?? { tools: [], thoughts: [] }
    await this.#options.recording.end(facts, failure ?? this.#statusFailure(facts) ?? facts.error)
  }

  #statusFailure(facts: ResponseFacts): Failure | undefined {
    const status = this.#status
    const type = status === undefined ? undefined : errorTypeOfStatus(status)
    return type && { message: `the provider responded with status ${status}`, ...facts.error, type }
  }
}
