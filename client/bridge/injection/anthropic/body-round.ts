/** Merges the bodies of rounds that are no streams into one. */
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import { parsed, textOf } from '../../providers/reading.js'
import { arrayText, JsonEdits } from '../../wire/json-edit.js'
import { JsonNode } from '../../wire/json-node.js'
import { type ClientBytes, finalRound, type Verdict } from '../round-bytes.js'
import { wholeBlock } from './blocks.js'
import type { ClientMessage } from './client-message.js'
import { verdictOf } from './round.js'

/**
 * Reads the whole body of a round. The client gets the last round's body with the visible blocks of all rounds, the sum
 * of their usage and the first one's id. A body that is no message is the response as it is.
 */
export function endBodyRound(response: ClientMessage, body: Buffer, out: ClientBytes): Verdict {
  const { round } = response
  const json = parsed(body.toString())
  if (!isPlainObject(json) || !Array.isArray(json.content) || json.type === 'error') {
    response.hasEnded = true
    out.end(body)
    return finalRound
  }
  const root = JsonNode.of(body)
  const elements = root.member('content')?.elements ?? []
  round.blocks = elements.map(node => wholeBlock(node, response.names))
  round.stopReason = textOf(json.stop_reason)
  if (isPlainObject(json.usage)) round.usage = json.usage as JsonObject // came out of JSON.parse
  response.id ??= textOf(json.id)
  const visible = elements.filter((_, at) => round.blocks[at]?.call === undefined).map(node => node.bytes)
  const isUnchanged = response.earlier.length === 0 && visible.length === elements.length
  response.visible.push(...visible)
  const verdict = verdictOf(round)
  if (!verdict.isFinal) return verdict
  response.hasEnded = true
  out.end(isUnchanged ? body : merged(response, root))
  return verdict
}

function merged(response: ClientMessage, root: JsonNode): Buffer {
  const edits = new JsonEdits(root)
  edits.set(['content'], arrayText(response.visible))
  if (response.earlier.length > 0) {
    edits.set(['usage'], JSON.stringify(response.usage))
    if (response.id !== undefined) edits.set(['id'], JSON.stringify(response.id))
  }
  return Buffer.concat(edits.pieces())
}
