import type { ErrorType } from '../../../shared/contract/recorder.js'
import { isPlainObject } from '../../../shared/values/text.js'
import { errorTypeOfStatus, type Failure } from '../providers/error-type.js'
import type { Recording } from '../recording/recorder.js'
import type { ResponseObserver } from '../relay/relay.js'
import { isEventStream, type ResponseHead } from '../wire/headers.js'
import { Rejection } from '../wire/rejection.js'
import { SseReader } from '../wire/sse.js'
import type { PostedCall } from './client-messages.js'

/** A call of a tool whose beginning is recorded. */
export interface BegunCall {
  call: PostedCall
  recording: Recording
}

/** The end of a call, as it is counted: `tool_error` is an error that the tool itself reports. */
export type CallOutcome = 'completed' | 'tool_error' | ErrorType

/** Options of {@link CallRecording}. */
export interface CallRecordingOptions {
  calls: readonly BegunCall[]
  serverUrl: string
  /** bytes kept of a JSON response or of one event; a larger one passes unread */
  maxBytes: number
  /** takes the end of each call; seconds from the call of the server */
  onEnd: (outcome: CallOutcome, seconds: number) => void
}

/** Records the ends of calls: each as soon as its response passes, all others when the HTTP response ends. */
export class CallRecording implements ResponseObserver {
  readonly #options: CallRecordingOptions
  readonly #startedAt = performance.now()
  /** by the id of the request */
  readonly #open: Map<string | symbol, BegunCall>
  readonly #kept: Promise<boolean>[] = []
  #stream: SseReader | undefined
  #chunks: Buffer[] = []
  #bytes = 0
  #status = 0

  constructor(options: CallRecordingOptions) {
    this.#options = options
    this.#open = new Map(options.calls.map(begun => [keyOf(begun.call.id), begun]))
  }

  /** Notes a token before it is sent: a server's error may repeat it. */
  hides(token: string): void {
    for (const { recording } of this.#open.values()) recording.hides(token)
  }

  head({ status, headers }: ResponseHead): void {
    this.#status = status
    if (isEventStream(headers)) {
      this.#stream = new SseReader(({ data }) => this.#read(data), this.#options.maxBytes)
    }
  }

  chunk(chunk: Buffer): boolean {
    if (this.#stream) {
      const before = this.#open.size
      this.#stream.push(chunk)
      return before > 0 && this.#open.size === 0
    }
    this.#bytes += chunk.length
    if (this.#bytes <= this.#options.maxBytes) this.#chunks.push(chunk)
    else this.#chunks = []
    return false
  }

  async beforeLastBytes(): Promise<void> {
    if (await this.finish(undefined)) return
    throw new Rejection(503, 'outbox_unwritable', 'the records of the call could not be kept; try again later')
  }

  /**
   * Ends all calls that have not ended. Resolves with whether the outbox has their records.
   * @param failure the reason why the response is not whole
   */
  async finish(failure: Failure | undefined): Promise<boolean> {
    this.#stream?.end()
    if (this.#chunks.length > 0) this.#read(Buffer.concat(this.#chunks.splice(0)).toString())
    for (const [id, begun] of [...this.#open]) this.#end(id, begun, undefined, failure ?? this.#missing(id))
    return (await Promise.all(this.#kept)).every(isKept => isKept)
  }

  /** Returns the failure of a call for which no response came; undefined if none can be expected, or was read. */
  #missing(id: string | symbol): Failure | undefined {
    const type = errorTypeOfStatus(this.#status)
    if (type) return { type, message: `the MCP server responded with status ${this.#status}` }
    const isUnread = this.#bytes > this.#options.maxBytes || (this.#stream?.oversized ?? 0) > 0
    if (typeof id === 'symbol' || isUnread) return undefined
    return { type: 'unknown', message: 'the MCP server ended its response without the result of the call' }
  }

  #read(text: string): void {
    const json = parsed(text)
    for (const message of Array.isArray(json) ? json : [json]) {
      if (!isPlainObject(message) || message.id === undefined || message.method !== undefined) continue
      const id = JSON.stringify(message.id)
      const begun = this.#open.get(id)
      if (begun) this.#end(id, begun, errorOf(message), undefined)
    }
  }

  #end(
    id: string | symbol,
    { call, recording }: BegunCall,
    error: string | undefined,
    failure: Failure | undefined,
  ): void {
    this.#open.delete(id)
    const durationMs = performance.now() - this.#startedAt
    const tool = {
      callId: '',
      tool: call.tool ?? '',
      input: { text: call.input, bytes: Buffer.byteLength(call.input) },
      serverUrl: this.#options.serverUrl,
      invocationError: error ?? failure?.message,
      metadata: { duration_ms: Math.round(durationMs) },
      at: new Date(),
    }
    this.#kept.push(recording.end([{ tools: [tool], thoughts: [] }], failure))
    this.#options.onEnd(failure?.type ?? (error === undefined ? 'completed' : 'tool_error'), durationMs / 1000)
  }
}

/** Returns the key of an id, for every way of writing the id; a notification gets no response. */
function keyOf(id: string | undefined): string | symbol {
  return id === undefined ? Symbol('no response') : JSON.stringify(parsed(id))
}

/** Returns the error of a response: JSON-RPC's, or the tool's own; undefined for a success. */
function errorOf(message: Record<string, unknown>): string | undefined {
  const { error, result } = message
  if (isPlainObject(error)) return typeof error.message === 'string' ? error.message : 'an error without a message'
  if (!isPlainObject(result) || result.isError !== true) return undefined
  const content: unknown[] = Array.isArray(result.content) ? result.content : []
  const texts = content.flatMap(part => (isPlainObject(part) && typeof part.text === 'string' ? [part.text] : []))
  return texts.join('\n') || 'an error without a text'
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
