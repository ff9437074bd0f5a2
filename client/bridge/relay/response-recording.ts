import { backgroundTimer } from '../../../shared/rpc/background-timer.js'
import type { Logger } from '../../../shared/values/log.js'
import type { BridgeMetrics } from '../metrics/metrics.js'
import { errorTypeOfStatus, type Failure } from '../providers/error-type.js'
import type { ResponseFacts, ResponseReader, ToolCall } from '../providers/provider-api.js'
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
  /** reads the response; of several responses the first one */
  reader: ResponseReader
  /** Returns a call as it is recorded: the bridge knows more of the calls that it ran. */
  recordedCall?: (call: ToolCall) => ToolCall
  /** see {@link InspectionOptions} */
  maxBytes: number
  logger: Logger
  metrics: Pick<BridgeMetrics, 'firstByte' | 'unknownItems' | 'usageMismatch'>
  /** name of the provider */
  provider: string
}

/**
 * Records the response that passes a relay, and the end of the interception, once. The object is made when the provider
 * is called. A request whose tools the bridge runs has several responses, see {@link nextResponse}.
 */
export class ResponseRecording implements ResponseObserver {
  readonly #options: ResponseRecordingOptions
  readonly #calledAt = performance.now()
  /** facts of the responses before the newest */
  readonly #earlier: ResponseFacts[] = []
  #reader: ResponseReader
  #status: number | undefined
  #waitsForCalls = false
  #inspection: Inspection | undefined
  #finished: Promise<Kept> | undefined
  #noteTimer: NodeJS.Timeout | undefined

  constructor(options: ResponseRecordingOptions) {
    this.#options = options
    this.#reader = options.reader
  }

  head(head: ResponseHead): void {
    const { maxBytes, logger, metrics, provider } = this.#options
    if (this.#earlier.length === 0) metrics.firstByte(provider, (performance.now() - this.#calledAt) / 1000)
    this.#status = head.status
    this.#inspection = new Inspection({ head, reader: this.#reader, maxBytes, logger })
  }

  /** Ends a response which is not the last one: the provider is called again. */
  async nextResponse(reader: ResponseReader): Promise<void> {
    clearTimeout(this.#noteTimer)
    this.#noteTimer = undefined
    const ended = this.#inspection
    this.#inspection = undefined
    this.#status = undefined
    this.#reader = reader
    if (ended) this.#earlier.push(await ended.end())
    // Notes what was billed: a tool may run for long.
    this.#note()
  }

  /** the provider's status; undefined before */
  get status(): number | undefined {
    return this.#status
  }

  /** whether the client has received a whole response, perhaps without its usage */
  get isWhole(): boolean {
    return !this.#waitsForCalls && (this.#inspection?.isWhole ?? false)
  }

  /** Notes that the client's response waits for calls of tools, or does not any more. */
  waitsForCalls(isWaiting: boolean): void {
    this.#waitsForCalls = isWaiting
  }

  /** Notes the hint of the key with which the request is sent: the last one counts. */
  usesKey(hint: string): void {
    this.#options.recording.usesKey(hint)
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
    if (this.#finished) return
    const soFar = this.#inspection?.soFar()
    if (soFar || this.#earlier.length > 0) this.#options.recording.note([...this.#earlier, ...(soFar ? [soFar] : [])])
  }

  async #finish(failure: Failure | undefined): Promise<Kept> {
    clearTimeout(this.#noteTimer)
    const newest = (await this.#inspection?.end()) ?? { tools: [], thoughts: [] }
    const responses = [...this.#earlier, newest]
    const { recording, apiName, metrics } = this.#options
    for (const { unknownItems, usageMismatch } of responses) {
      if (unknownItems) metrics.unknownItems(apiName, unknownItems)
      if (usageMismatch) metrics.usageMismatch(apiName)
    }
    return {
      kept: recording.end(
        responses.map(response => this.#shown(response)),
        this.#failureOf(newest, failure),
      ),
    }
  }

  #shown(response: ResponseFacts): ResponseFacts {
    const { recordedCall } = this.#options
    return recordedCall ? { ...response, tools: response.tools.map(recordedCall) } : response
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
