import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import type { Logger } from '../../../shared/values/log.js'
import type { BridgeMetrics } from '../metrics/metrics.js'
import { errorTypeOfStatus, type Failure } from '../providers/error-type.js'
import type { ResponseFacts, ResponseReader } from '../providers/provider-api.js'
import { Inspection } from '../recording/inspection.js'
import type { Recording } from '../recording/recorder.js'
import type { ResponseHead } from '../wire/headers.js'
import { Rejection } from '../wire/rejection.js'
import type { ResponseObserver } from './relay.js'

/** Whether the outbox has the records of a response, once that is known. */
interface Kept {
  kept: Promise<boolean>
}

/** time from a chunk until the tokens so far are noted: what a process that dies may lose of a response under way */
const noteMs = 200

/** Options of {@link ResponseRecording}. */
export interface ResponseRecordingOptions {
  recording: Recording
  /** name of the API in metrics */
  apiName: string
  reader: ResponseReader
  /** see {@link InspectionOptions} */
  maxBytes: number
  logger: Logger
  metrics: Pick<BridgeMetrics, 'firstByte' | 'unknownItems' | 'usageMismatch'>
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
  #finished: Promise<Kept> | undefined
  #noteTimer: NodeJS.Timeout | undefined

  constructor(options: ResponseRecordingOptions) {
    this.#options = options
  }

  head(head: ResponseHead): void {
    const { reader, maxBytes, logger, metrics, provider } = this.#options
    metrics.firstByte(provider, (performance.now() - this.#calledAt) / 1000)
    this.#status = head.status
    this.#inspection = new Inspection({ head, reader, maxBytes, logger })
  }

  /** the provider's status; undefined before */
  get status(): number | undefined {
    return this.#status
  }

  /** whether the client has received a whole response, perhaps without its usage */
  get isWhole(): boolean {
    return this.#inspection?.isWhole ?? false
  }

  chunk(chunk: Buffer): boolean {
    const ended = this.#inspection?.write(chunk) ?? false
    if (!ended) this.#noteTimer ??= backgroundTimer(() => this.#note(), noteMs)
    return ended
  }

  async beforeLastBytes(): Promise<void> {
    const { kept } = await this.finish(undefined)
    if (await kept) return
    throw new Rejection(503, 'outbox_unwritable', 'the records of the response could not be kept; try again later')
  }

  /**
   * Ends the interception. Resolves when the records are made, with the promise that the outbox has them. Only the
   * first call counts.
   * @param failure the reason of a bad end that the provider's response does not show
   */
  finish(failure: Failure | undefined): Promise<Kept> {
    this.#finished ??= this.#finish(failure)
    return this.#finished
  }

  /** Notes the tokens so far: the process may die at any moment. */
  #note(): void {
    this.#noteTimer = undefined
    if (this.#inspection && !this.#finished) this.#options.recording.note(this.#inspection.soFar())
  }

  async #finish(failure: Failure | undefined): Promise<Kept> {
    clearTimeout(this.#noteTimer)
    const facts = (await this.#inspection?.end()) ?? { tools: [], thoughts: [] }
    const { recording, apiName, metrics } = this.#options
    if (facts.unknownItems) metrics.unknownItems(apiName, facts.unknownItems)
    if (facts.usageMismatch) metrics.usageMismatch(apiName)
    return { kept: recording.end(facts, this.#failureOf(facts, failure)) }
  }

  /** A client that leaves a whole response did not fail it: some leave before its usage. */
  #failureOf(facts: ResponseFacts, failure: Failure | undefined): Failure | undefined {
    const isPardoned = failure?.type === 'client_closed' && this.isWhole
    return (isPardoned ? undefined : failure) ?? this.#statusFailure(facts) ?? facts.error
  }

  #statusFailure(facts: ResponseFacts): Failure | undefined {
    const status = this.#status
    const type = status === undefined ? undefined : errorTypeOfStatus(status)
    if (type === undefined) return undefined
    const isBilling = facts.error?.type === 'billing'
    return {
      message: `the provider responded with status ${status}`,
      ...facts.error,
      type: isBilling ? 'billing' : type,
    }
  }
}
