/** An interception's way into the record: the beginning, which is awaited, then all other records and the end. */
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import { errorCodeOf, isRetryable, mayHaveRunOf } from '../../../shared/rpc/errors.js'
import { abortable } from '../../../shared/values/abortable.js'
import type { ControlPlane } from '../control-plane/control-plane.js'
import type { BridgeMetrics, InterceptionEnd } from '../metrics/metrics.js'
import type { Outbox } from '../outbox/outbox.js'
import { rejectionCode } from '../outbox/record-sender.js'
import type { Failure } from '../providers/error-type.js'
import type { ResponseFacts, TokenCounts } from '../providers/provider-api.js'
import { ExchangeAborted } from '../wire/exchange-aborted.js'
import { controlPlaneUnreachable, isClosedForGood, maxRetryAfterSeconds, Rejection } from '../wire/rejection.js'
import { InterceptionRecords, type InterceptionStart, type RecordOptions } from './records.js'
import { countsOf } from './token-facts.js'

/** The parts of a daemon that the recorder uses. */
export interface RecorderParts extends RecordOptions {
  client: Pick<ControlPlane, 'recorder'>
  outbox: Outbox
  metrics: BridgeMetrics
}

/** An interception that was recorded and has not ended. */
export interface Recording {
  readonly id: string
  /** Notes the hint of the key with which the request is sent: the last one counts. */
  usesKey(hint: string): void
  /** Notes one more secret that no record may hold, before it is sent: see `InterceptionStart.secrets`. */
  hides(secret: string): void
  /** Notes the facts of the responses so far, in case the process dies before the end. */
  note(soFar: readonly ResponseFacts[]): void
  /**
   * Puts the records of the responses, one for each call to the provider, and the end into the outbox. Resolves with
   * whether the outbox has them: as durable as it makes them. Never rejects. Later calls change nothing and get the
   * first promise.
   */
  end(responses: readonly ResponseFacts[], failure: Failure | undefined): Promise<boolean>
}

/** Records interceptions. */
export interface Recorder {
  /**
   * Records the beginning of an interception. When the promise resolves, the control plane has the record.
   * @param signal ends the wait for the control plane; an interception that may have been recorded gets an end
   * @throws Rejection 401 if the user was erased since the key was checked; 503 if the outbox is full or the
   *   interception could not be recorded; the provider must not be called then
   */
  begin(start: InterceptionStart, signal: AbortSignal): Promise<Recording>
}

/** Makes the recorder of a daemon. */
export function createRecorder(parts: RecorderParts): Recorder {
  return { begin: (start, signal) => begin(parts, start, signal) }
}

async function begin(parts: RecorderParts, start: InterceptionStart, signal: AbortSignal): Promise<Recording> {
  signal.throwIfAborted()
  const { client, outbox, logger } = parts
  if (!outbox.admit()) {
    logger.warn({ waiting: outbox.size }, 'a request was rejected: too many records wait for the control plane')
    throw new Rejection(503, 'outbox_full', 'too many records wait for the control plane; try again later')
  }
  const records = new InterceptionRecords(parts, start)
  const { interception } = records
  if (outbox.hasErased(interception.initiatorId)) {
    throw new Rejection(401, 'unknown_key', 'the owner of this key was erased')
  }
  const recording = client.recorder.recordInterception.mutate(interception, { signal })
  const written = outbox.begin({ kind: 'interception', ...interception }, records.beforeResponse(lostBefore), recording)
  const [recorded, kept] = await Promise.allSettled([recording, abortable(written, signal)])
  if (recorded.status === 'fulfilled' && kept.status === 'fulfilled') return createRecording(parts, start, records)
  const error: unknown = recorded.status === 'rejected' ? recorded.reason : Reflect.get(kept, 'reason')
  // A client that leaves is no fault of recording.
  const failed = { err: error, code: errorCodeOf(error), interceptionId: interception.id }
  if (!signal.aborted) logger.error(failed, 'an interception could not be recorded')
  // The control plane may have the record in spite of the error, so an end follows; a repeated beginning is harmless.
  if (recorded.status === 'fulfilled' || signal.aborted || !isNotRecorded(error)) endUnserved(parts, records, signal)
  else outbox.forget(interception.id)
  signal.throwIfAborted()
  if (recorded.status === 'fulfilled') {
    const message = 'the outbox cannot be written, so the provider was not called; try again later'
    throw new Rejection(503, 'outbox_unwritable', message, { cause: error })
  }
  if (isClosedForGood(error)) throw controlPlaneUnreachable(error)
  throw new Rejection(503, 'not_recorded', 'the request could not be recorded, so the provider was not called', {
    ...(!isRetryable(error) && { retryAfterSeconds: maxRetryAfterSeconds }),
    cause: error,
  })
}

/** Returns whether an error says for certain that nothing was recorded. */
function isNotRecorded(error: unknown): boolean {
  return mayHaveRunOf(error) === false || rejectionCode(error) !== undefined
}

/** The ends of interceptions whose process dies. */
const lostBefore: Failure = { type: 'unknown', message: 'the bridge ended before the response' }
const lostInside: Failure = { type: 'unknown', message: 'the bridge ended inside the response' }

function createRecording(parts: RecorderParts, start: InterceptionStart, records: InterceptionRecords): Recording {
  const { id, model } = records.interception
  const startedAt = performance.now()
  // A call of a tool by an MCP client has metrics of its own.
  const countEnd = start.kind === 'mcp' ? () => {} : parts.metrics.interceptionStarted()
  let ended: Promise<boolean> | undefined
  return {
    id,
    usesKey: hint => records.usesKey(hint),
    hides: secret => records.hides(secret),
    note(soFar) {
      if (ended) return
      try {
        parts.outbox.note(id, records.insideResponse(soFar, lostInside))
      } catch (error) {
        parts.logger.error({ err: error, interceptionId: id }, 'the tokens so far could not be noted')
      }
    },
    end(responses, failure) {
      if (!ended) {
        ended = put(parts, id, wholeOrEnd(parts, records, responses, failure))
        countEnd({ model, seconds: (performance.now() - startedAt) / 1000, ...countable(start, responses, failure) })
      }
      return ended
    },
  }
}

function countable(
  { provider, client, request }: InterceptionStart,
  responses: readonly ResponseFacts[],
  failure: Failure | undefined,
): Omit<InterceptionEnd, 'model' | 'seconds'> {
  const parts: (TokenCounts & { model?: string | undefined })[] = responses.flatMap(({ usage, billedBeside = [] }) => [
    ...(usage ? [usage] : []),
    ...billedBeside,
  ])
  const tools = responses.flatMap(response => response.tools)
  return {
    provider: provider.name,
    client,
    status: failure?.type ?? 'completed',
    tokens: parts.map(part => {
      const counts = countsOf(part)
      return {
        model: part.model ?? request.model,
        input: counts.inputTokens,
        output: counts.outputTokens,
        cacheRead: counts.cacheReadInputTokens,
        cacheWrite: counts.cacheWriteInputTokens,
      }
    }),
    toolCalls: tools.filter(({ injected }) => !injected).length,
    injectedCalls: tools.filter(({ injected }) => injected).length,
  }
}

function endUnserved(parts: RecorderParts, records: InterceptionRecords, signal: AbortSignal): void {
  const reason: unknown = signal.aborted ? signal.reason : undefined
  const message =
    reason instanceof Error ? reason.message : 'the request could not be recorded, so the provider was not called'
  const type = reason instanceof ExchangeAborted && reason.by === 'client' ? 'client_closed' : 'unknown'
  const { interception } = records
  const all = [{ kind: 'interception' as const, ...interception }, ...records.beforeResponse({ type, message })]
  // Nobody waits for these records.
  void put(parts, interception.id, all)
}

async function put(
  { outbox, logger }: RecorderParts,
  interceptionId: string,
  records: BatchRecord[],
): Promise<boolean> {
  try {
    await outbox.put(records)
    return true
  } catch (error) {
    logger.error(
      { err: error, interceptionId, records: records.length },
      'records were lost: the outbox did not take them',
    )
    return false
  }
}

/**
 * Returns the records of a response, or only the end if an error prevents the others: it must cost neither the end nor
 * the response.
 */
function wholeOrEnd(
  { logger }: RecorderParts,
  records: InterceptionRecords,
  responses: readonly ResponseFacts[],
  failure: Failure | undefined,
): BatchRecord[] {
  try {
    return records.whole(responses, failure)
  } catch (error) {
    logger.error(
      { err: error, interceptionId: records.interception.id },
      'a response could not be recorded; its end is',
    )
    return [records.end(failure)]
  }
}
