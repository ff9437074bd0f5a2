/** An interception's way into the record: the beginning, which is awaited, then all other records and the end. */
import type { BatchRecord, RecordInput } from '../../../shared/contract/recorder.js'
import { errorCodeOf, isRetryable } from '../../../shared/rpc/errors.js'
import { type ControlPlane, mayHaveRun } from '../control-plane/control-plane.js'
import type { BridgeMetrics, InterceptionEnd } from '../metrics/metrics.js'
import type { Outbox } from '../outbox/outbox.js'
import type { Failure } from '../providers/error-type.js'
import type { ResponseFacts, TokenCounts } from '../providers/provider-api.js'
import { ExchangeAborted } from '../wire/exchange-aborted.js'
import { controlPlaneUnreachable, isClosedForGood, maxRetryAfterSeconds, Rejection } from '../wire/rejection.js'
import { endOf, type InterceptionStart, interceptionOf, type RecordOptions, recordsOf } from './records.js'
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
  /**
   * Puts the records of the response and the end into the outbox. Resolves when the outbox has them, never rejects.
   * Later calls change nothing and get the first promise.
   */
  end(response: ResponseFacts, failure: Failure | undefined): Promise<void>
}

/** Records interceptions. */
export interface Recorder {
  /**
   * Records the beginning of an interception. When the promise resolves, the control plane has the record.
   * @param signal ends the wait for the control plane; an interception that may have been recorded gets an end
   * @throws Rejection 503 if the outbox is full or the interception could not be recorded; the provider must not be
   *   called then
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
  const interception = interceptionOf(start)
  try {
    await client.recorder.recordInterception.mutate(interception, { signal })
  } catch (error) {
    logger.error(
      { err: error, code: errorCodeOf(error), interceptionId: interception.id },
      'an interception could not be recorded',
    )
    // The control plane may have the record in spite of the error, so an end follows; a repeated beginning is harmless.
    if (signal.aborted || mayHaveRun(error)) await endUnserved(parts, start, interception, signal)
    signal.throwIfAborted()
    if (isClosedForGood(error)) throw controlPlaneUnreachable(error)
    throw new Rejection(503, 'not_recorded', 'the request could not be recorded, so the provider was not called', {
      ...(!isRetryable(error) && { retryAfterSeconds: maxRetryAfterSeconds }),
      cause: error,
    })
  }
  return createRecording(parts, start, interception)
}

function createRecording(
  parts: RecorderParts,
  start: InterceptionStart,
  { id, model }: RecordInput<'interception'>,
): Recording {
  const startedAt = performance.now()
  const countEnd = parts.metrics.interceptionStarted()
  let ended: Promise<void> | undefined
  return {
    id,
    end(response, failure) {
      if (!ended) {
        ended = put(parts, id, recordsOrEnd(parts, id, start, response, failure))
        countEnd({ model, seconds: (performance.now() - startedAt) / 1000, ...countable(start, response, failure) })
      }
      return ended
    },
  }
}

function countable(
  { provider, client, request }: InterceptionStart,
  { usage, billedBeside = [], tools }: ResponseFacts,
  failure: Failure | undefined,
): Omit<InterceptionEnd, 'model' | 'seconds'> {
  const parts: (TokenCounts & { model?: string | undefined })[] = [...(usage ? [usage] : []), ...billedBeside]
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
    toolCalls: tools.length,
  }
}

async function endUnserved(
  parts: RecorderParts,
  start: InterceptionStart,
  interception: RecordInput<'interception'>,
  signal: AbortSignal,
): Promise<void> {
  const reason: unknown = signal.aborted ? signal.reason : undefined
  const message =
    reason instanceof Error ? reason.message : 'the request could not be recorded, so the provider was not called'
  const type = reason instanceof ExchangeAborted && reason.by === 'client' ? 'client_closed' : 'unknown'
  const rest = recordsOf(parts, interception.id, start, { tools: [], thoughts: [] }, { type, message })
  await put(parts, interception.id, [{ kind: 'interception', ...interception }, ...rest])
}

async function put({ outbox, logger }: RecorderParts, interceptionId: string, records: BatchRecord[]): Promise<void> {
  try {
    await outbox.put(records)
  } catch (error) {
    logger.error(
      { err: error, interceptionId, records: records.length },
      'records were lost: the outbox did not take them',
    )
  }
}

/**
 * Returns the records of a response, or only the end if an error prevents the others: it must cost neither the end nor
 * the response.
 */
function recordsOrEnd(
  parts: RecorderParts,
  id: string,
  start: InterceptionStart,
  response: ResponseFacts,
  failure: Failure | undefined,
): BatchRecord[] {
  try {
    return recordsOf(parts, id, start, response, failure)
  } catch (error) {
    parts.logger.error({ err: error, interceptionId: id }, 'a response could not be recorded; its end is')
    return [endOf(id, failure, start.secrets, parts.recordContent)]
  }
}
