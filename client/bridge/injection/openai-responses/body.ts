/** Whole responses of Responses: blocking ones, and the snapshot that ends a stream. */
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import { objectsOf, parsed } from '../../providers/reading.js'
import { type ClientBytes, finalRound, type Verdict } from '../round-bytes.js'
import { roundItems } from './items.js'
import type { ResponsesResponse } from './response.js'

/** Statuses of a response whose calls are not run. */
const cutStatuses: ReadonlySet<unknown> = new Set(['incomplete', 'failed', 'cancelled', 'in_progress', 'queued'])

/** The end of a round, as its snapshot shows it. */
export interface RoundSnapshot {
  verdict: Verdict
  /** whether the client's snapshot differs from the provider's */
  isChanged: boolean
}

/**
 * Records the end of a round. The snapshot is turned into the client's if the client's response ends.
 * @param isCut whether calls are not run, whatever the snapshot says
 * @param streamed the items that the events of a stream had, which count if the snapshot has none
 */
export function endRound(
  response: ResponsesResponse,
  snapshot: JsonObject,
  isCut: boolean,
  streamed: readonly JsonObject[],
): RoundSnapshot {
  response.head(snapshot)
  const listed = objectsOf(snapshot.output) as readonly JsonObject[] // out of JSON.parse
  const output = listed.length > 0 || streamed.length === 0 ? listed : streamed
  const runs = !isCut && !cutStatuses.has(snapshot.status)
  const items = roundItems(output, streamed, response.names, runs)
  const shown = items.filter(({ hidden }) => !hidden).map(({ json }) => json)
  const calls = items.flatMap(({ hidden }) => hidden ?? [])
  const isMixed = items.some(({ json, hidden }) => !hidden && isClientCall(json))
  const verdict = calls.length === 0 ? finalRound : { calls, isFinal: isMixed }
  const isChanged = response.isChanged || shown.length < output.length
  const usage = isPlainObject(snapshot.usage) ? (snapshot.usage as JsonObject) : undefined // out of JSON.parse
  // Some proxies leave the items out of the snapshot; the client then knows them by their events.
  if (verdict.isFinal && isChanged) response.merge(snapshot, output === listed ? shown : undefined)
  response.ended({ items, results: [], isStored: response.isStored && snapshot.store !== false }, usage)
  return { verdict, isChanged }
}

/** Types of calls that the provider runs itself; the client runs all others. */
const providerCalls: ReadonlySet<unknown> = new Set([
  'web_search_call',
  'file_search_call',
  'code_interpreter_call',
  'image_generation_call',
  'mcp_call',
])

function isClientCall({ type }: JsonObject): boolean {
  return (
    typeof type === 'string' && (type.endsWith('_call') || type === 'mcp_approval_request') && !providerCalls.has(type)
  )
}

/** Reads the body of one round and, if it is the last one, writes the client's body. */
export function mergeBody(response: ResponsesResponse, bytes: Buffer, out: ClientBytes): Verdict {
  const json = parsed(bytes.toString())
  if (!isPlainObject(json) || !Array.isArray(json.output)) {
    out.end(bytes) // an error, or no response of the API
    return finalRound
  }
  const snapshot = json as JsonObject // came out of JSON.parse
  const { verdict, isChanged } = endRound(response, snapshot, false, [])
  if (verdict.isFinal) out.end(isChanged ? JSON.stringify(snapshot) : bytes)
  return verdict
}
