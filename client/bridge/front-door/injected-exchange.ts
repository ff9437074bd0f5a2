/** Exchanges with injected tools: several calls to the provider, one response for the client. */
import { withinDeadline } from '../control-plane/deadline.js'
import type { InjectionApi } from '../injection/injection-api.js'
import type { Injection } from '../injection/injector.js'
import { runRounds } from '../injection/rounds.js'
import type { BridgedRoute, RequestFacts } from '../providers/provider-api.js'
import { mayRejectField } from '../relay/attempt.js'
import { outgoingBody } from '../relay/outgoing-body.js'
import type { Relay, ResponseObserver } from '../relay/relay.js'
import type { ResponseRecording } from '../relay/response-recording.js'
import { type AttemptBody, type BridgedCall, callProvider } from './call-provider.js'
import { failureOf } from './error-response.js'
import type { Exchange } from './exchange.js'
import type { KeptContent } from './read-request.js'

/** Prepares a request whose user has MCP servers; undefined if the request goes on as the client sent it. */
export async function prepareInjection(
  { parts, abort, signal, owner, target }: Exchange,
  api: InjectionApi,
  facts: RequestFacts,
  { json, text, mayAskForUsage }: KeptContent,
): Promise<Injection | undefined> {
  const candidate = {
    api,
    facts,
    json,
    body: text,
    userId: owner.ownerId,
    provider: target.provider.name,
    excludedModels: target.settings.modelsWithoutTools,
    mayAskForUsage,
  }
  const prepare = async () => parts.injector?.prepare(candidate, signal)
  return withinDeadline(parts.limits.controlPlaneDeadlineMs, abort, prepare)
}

/** Lets the record of the last response decide when the last bytes of the client's response may pass. */
export class RoundsObserver implements ResponseObserver {
  readonly #recorded: ResponseRecording
  #isLast = false

  constructor(recorded: ResponseRecording) {
    this.#recorded = recorded
  }

  /** Announces the chunk with the end of the response. */
  readonly onLast = (): void => {
    this.#isLast = true
  }

  head(): void {} // each response of the provider has its own

  chunk(): boolean {
    return this.#isLast
  }

  beforeLastBytes(): Promise<void> {
    return this.#recorded.beforeLastBytes()
  }
}

/** The parts of an exchange with injected tools. */
export interface RoundsExchange {
  exchange: Exchange
  route: BridgedRoute
  bridged: BridgedCall
  injection: Injection
  relay: Relay
  /** the relay's observer */
  rounds: RoundsObserver
  recorded: ResponseRecording
}

/** Calls the provider for each round, and relays one response until its end. */
export async function sendRounds({
  exchange,
  route,
  bridged,
  injection,
  relay,
  rounds,
  recorded,
}: RoundsExchange): Promise<void> {
  const { parts, signal, target } = exchange
  const { limits } = parts
  let mayReject = injection.asksForUsage
  await runRounds({
    get request() {
      return injection.request
    },
    async send(body, receiver) {
      const options = { bridged, recorded, isRewritten: true }
      const isRejected = await callProvider(exchange, attemptBody(body), receiver, { ...options, mayReject })
      mayReject = false
      if (!isRejected) return
      injection.dropUsage()
      await callProvider(exchange, attemptBody(injection.request.body()), receiver, options)
      const { status } = recorded
      if (status !== undefined && !mayRejectField(status)) {
        parts.usageRequests.rejected(target.provider.name, bridged.model)
      }
    },
    run: call => injection.run(call, signal),
    keep: turn => injection.keep(turn, signal),
    client: relay,
    onLast: rounds.onLast,
    recorded: {
      head: head => recorded.head(head),
      chunk: chunk => recorded.chunk(chunk),
      waitsForCalls: isWaiting => recorded.waitsForCalls(isWaiting),
      nextResponse: () => recorded.nextResponse(route.createResponseReader()),
      fail: error => recorded.finish((recorded.status ?? 0) >= 400 ? undefined : failureOf(error)),
    },
    limits,
    signal,
  }).catch(async (error: unknown) => {
    // The client's history may hold the part of the turn that it has seen.
    if (signal.aborted) await keepUnfinished(injection, limits.controlPlaneDeadlineMs)
    throw error
  })
  await relay.end(signal)
}

async function keepUnfinished({ request, keep }: Injection, timeoutMs: number): Promise<void> {
  const turn = request.turn()
  if (turn) await keep(turn, AbortSignal.timeout(timeoutMs))?.catch(() => {}) // it was logged
}

/** The body of a round, which the next round needs too. */
function attemptBody(pieces: readonly Buffer[]): AttemptBody {
  return { forAttempt: () => outgoingBody(pieces), forLastAttempt: () => outgoingBody(pieces), release() {} }
}
