/** The loop of rounds: calls the provider until a response ends without hidden calls, and runs those between. */
import type { ToolResult } from '../mcp/injected-tool.js'
import type { ResponseReceiver } from '../relay/upstream-call.js'
import { abortedBy, UpstreamError } from '../relay/upstream-error.js'
import { encodingsOf } from '../wire/content-encoding.js'
import { findHeader, type ResponseHead, withoutHeaders } from '../wire/headers.js'
import { Rejection } from '../wire/rejection.js'
import type { HiddenCall, HiddenTurn, InjectedRequest, MergedBytes, RoundMerger } from './injection-api.js'
import { type ProviderError, ProviderErrorReader } from './provider-error.js'

/** Bounds of one request. */
export interface RoundLimits {
  /** calls to the provider for one request of a client */
  maxInjectedRounds: number
  /** milliseconds from the first round until the last one begins */
  injectedTotalMs: number
  /** milliseconds between pings while tools run */
  injectedPingMs: number
}

/** Options of {@link runRounds}. */
export interface RoundsOptions {
  /** the request; may be another one after a `send`, which has not passed on any response then */
  readonly request: InjectedRequest
  /** Sends the body of a round; resolves when the receiver has taken the whole response. */
  send: (body: readonly Buffer[], receiver: ResponseReceiver) => Promise<void>
  /** Runs a hidden call. Rejects only if the request is aborted. */
  run: (call: HiddenCall) => Promise<ToolResult>
  /**
   * Stores the hidden calls of the turn, and what else the next request needs; undefined if there is nothing to store.
   * @throws Rejection if it could not be stored
   */
  keep: (turn: HiddenTurn | undefined) => Promise<void> | undefined
  /** takes the response of the client */
  client: ResponseReceiver
  /** Called before `client` gets the chunk with the end of the response. */
  onLast: () => void
  /** takes each response of the provider */
  recorded: RoundRecording
  limits: RoundLimits
  signal: AbortSignal
}

/** Takes the responses of the provider, for the record. */
export interface RoundRecording {
  head(head: ResponseHead): void
  /** Returns whether the chunk holds the end of a streamed response. */
  chunk(chunk: Buffer): boolean
  /** Notes whether the client's response waits for calls: a client that leaves meanwhile has missed it. */
  waitsForCalls(isWaiting: boolean): void
  /** Ends a response that another one follows. */
  nextResponse(): Promise<void>
  /** Ends the record with an error, which the client is about to get as the last event. */
  fail(error: unknown): Promise<unknown>
}

/** A failure behind the beginning of the client's stream, whose last event says it. */
export class RoundFailed extends Error {
  override readonly name = 'RoundFailed'
}

/**
 * Runs the rounds of one request. Resolves when the client has the whole response, but for its end.
 * @throws RoundFailed if a later round failed, behind an error event in the client's stream; its cause is the error
 * @throws Rejection, or the error of `send`, if no byte has reached the client, the first round failed, or the request
 *   was aborted
 */
export async function runRounds(options: RoundsOptions): Promise<void> {
  const { limits, signal, recorded } = options
  const output = new ClientOutput(options)
  const startedAt = performance.now()
  for (let round = 1; ; round++) {
    const receiver = new RoundReceiver(options, output)
    try {
      await options.send(options.request.body(), receiver)
    } catch (error) {
      // The first response is cut off where the provider's is, as without tools.
      if (round === 1) throw error
      return output.fail(error)
    }
    if (receiver.isPassed) return
    const { merger, status } = receiver
    if (!merger) return output.fail(failed(`the provider responded with status ${status}`), receiver.error)
    const { calls, isFinal, held } = merger.end()
    if (calls.length === 0) return output.writeLast(held.bytes)
    if (!held.isLast) await output.write(held)
    recorded.waitsForCalls(true)
    options.request.addResults(await runCalls(options, output, calls))
    if (signal.aborted) throw abortedBy(signal)
    recorded.waitsForCalls(false)
    if (isFinal) return output.writeLast(held.bytes)
    if (round === limits.maxInjectedRounds) {
      return output.fail(unfinished(`the model called tools in ${round} rounds, and no more are allowed`))
    }
    if (performance.now() - startedAt > limits.injectedTotalMs) {
      return output.fail(unfinished(`tools took more than ${limits.injectedTotalMs.toLocaleString('en')} ms`))
    }
    await recorded.nextResponse()
  }
}

function failed(message: string): Rejection {
  return new Rejection(502, 'provider_failed', message)
}

function unfinished(message: string): Rejection {
  return new Rejection(502, 'tools_unfinished', message)
}

/** Runs the calls in order. The client of a stream gets a ping before them, and at intervals. */
async function runCalls(
  { run, limits }: RoundsOptions,
  output: ClientOutput,
  calls: readonly HiddenCall[],
): Promise<{ call: HiddenCall; result: ToolResult }[]> {
  output.ping()
  const timer = setInterval(() => output.ping(), limits.injectedPingMs)
  const results: { call: HiddenCall; result: ToolResult }[] = []
  try {
    for (const call of calls) results.push({ call, result: await run(call) })
    return results
  } finally {
    clearInterval(timer)
  }
}

/** The client's side: begins the response with its first bytes, and stores the turn before its last ones. */
class ClientOutput {
  readonly #options: RoundsOptions
  /** until the response has begun */
  #head: ResponseHead | undefined
  /** whether the client has the head */
  hasBegun = false
  /** whether the last bytes are known: what the provider sends behind them is no part of the response */
  #isEnding = false
  /** whether the client has not taken what was written */
  #isHeld = false

  constructor(options: RoundsOptions) {
    this.#options = options
  }

  /** Keeps the head of the first response until there are bytes. */
  prepare(head: ResponseHead): void {
    this.#head ??= { ...head, headers: withoutHeaders(head.headers, ['content-length']) }
  }

  /** Begins the response with a head that is passed on as it is. */
  begin(head: ResponseHead): void {
    this.hasBegun = true
    this.#options.client.head(head)
  }

  /** Writes bytes of the response. */
  write({ bytes, isLast }: MergedBytes): Promise<void> | undefined {
    if (this.#isEnding || (bytes.length === 0 && !isLast)) return undefined
    if (!isLast) return this.#send(bytes)
    this.#isEnding = true
    const kept = this.#options.keep(this.#options.request.turn())
    const send = () => {
      this.#options.onLast()
      return this.#send(bytes)
    }
    return kept ? kept.then(send) : send()
  }

  /** Writes the last bytes of the response, which a round has held back. */
  async writeLast(bytes: Buffer): Promise<void> {
    // A response that has not begun is a body, whose length is known now.
    if (!this.hasBegun) this.#head?.headers.push('content-length', String(bytes.length))
    try {
      await this.write({ bytes, isLast: true })
    } catch (error) {
      await this.fail(error)
    }
  }

  /**
   * Ends a stream that has begun with an error event. Throws in any case.
   * @param provider the provider's error, whose words are for the client alone: they may quote the request
   */
  async fail(error: unknown, provider?: ProviderError): Promise<never> {
    const { request, signal, recorded } = this.#options
    const shown = error instanceof UpstreamError && error.cause instanceof Rejection ? error.cause : error
    if (signal.aborted || !this.hasBegun || !request.isStream) throw shown
    const message = shown instanceof Rejection || shown instanceof UpstreamError ? shown.message : 'internal error'
    // The client may go on with the part of the turn that it has seen.
    if (!this.#isEnding) await this.#options.keep(request.turn())?.catch(() => {}) // it was logged
    await recorded.fail(shown)
    this.#options.onLast()
    await this.#send(request.errorEvent(message, provider))
    throw new RoundFailed(message, { cause: shown })
  }

  /** Writes a sign of life, unless the client has not taken what was written before. */
  ping(): void {
    const { request, signal } = this.#options
    if (request.isStream && !this.#isHeld && !signal.aborted) void this.#send(request.ping())
  }

  #send(bytes: Buffer): Promise<void> | undefined {
    if (this.#head && !this.hasBegun) this.begin(this.#head)
    const taken = this.#options.client.chunk(bytes, false)
    if (!taken) return undefined
    this.#isHeld = true
    return taken.finally(() => {
      this.#isHeld = false
    })
  }
}

/** Takes the response of one round. */
class RoundReceiver implements ResponseReceiver {
  readonly #options: RoundsOptions
  readonly #output: ClientOutput
  /** merges the response of a success */
  merger: RoundMerger | undefined
  /** whether the response reaches the client as it is: an error, before any byte of an answer */
  isPassed = false
  status: number | undefined
  /** reads an error behind the beginning of the client's response */
  #error: ProviderErrorReader | undefined

  constructor(options: RoundsOptions, output: ClientOutput) {
    this.#options = options
    this.#output = output
  }

  /** the provider's error, behind the beginning of the client's response */
  get error(): ProviderError | undefined {
    return this.#error?.end()
  }

  head(head: ResponseHead): void {
    const { recorded, request } = this.#options
    recorded.head(head)
    this.status = head.status
    if (head.status < 200 || head.status >= 300) {
      this.isPassed = !this.#output.hasBegun
      if (this.isPassed) this.#output.begin(head)
      else this.#error = new ProviderErrorReader(head)
      return
    }
    if (encodingsOf(findHeader(head.headers, 'content-encoding')).length > 0) {
      throw failed('the provider sent an encoding that it was not asked for')
    }
    this.#output.prepare(head)
    this.merger = request.beginRound()
  }

  chunk(chunk: Buffer, isLast: boolean): Promise<void> | undefined {
    const { recorded, client, onLast } = this.#options
    const isEnd = recorded.chunk(chunk)
    if (this.merger) return this.#output.write(this.merger.push(chunk))
    this.#error?.push(chunk)
    if (!this.isPassed) return undefined
    if (isEnd) onLast()
    return client.chunk(chunk, isLast)
  }
}
