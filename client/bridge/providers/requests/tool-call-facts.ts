/** Reads the conversation to which a client's call of an MCP tool belongs: clients name it in headers or in `_meta`. */
import type { IncomingHttpHeaders } from 'node:http'
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import type { RequestFacts } from '../provider-api.js'
import { parsed, textOf } from '../reading.js'
import { attributionOf } from './attribution.js'
import { recogniseClient } from './client-recognition.js'
import { sessionOfHeaders } from './session.js'

/** Codex writes the same metadata into a header of model requests and into the `_meta` of tool calls. */
const codexKey = 'x-codex-turn-metadata'

/** Claude Code names the model's tool call, and so does Codex beside its metadata, as `callId`. */
const claudeCallKey = 'claudecode/toolUseId'

/**
 * Returns the facts of a call of a tool.
 * @param meta the `_meta` of the call
 */
export function toolCallFacts(
  headers: IncomingHttpHeaders,
  meta: JsonObject,
): Pick<RequestFacts, 'client' | 'sessionId' | 'correlatingToolCallId' | 'metadata'> {
  const codex = codexMetadata(meta)
  const all = codex === undefined ? headers : { ...headers, [codexKey]: JSON.stringify(codex) }
  return {
    client: recogniseClient(headers),
    sessionId: sessionOfHeaders(headers) ?? textOf(codex?.session_id) ?? textOf(codex?.thread_id),
    correlatingToolCallId: textOf(meta[claudeCallKey]) ?? (codex && textOf(meta.callId)),
    metadata: attributionOf(all, undefined),
  }
}

function codexMetadata(meta: JsonObject): Record<string, unknown> | undefined {
  const given: unknown = meta[codexKey]
  const value = typeof given === 'string' ? parsed(given) : given
  return isPlainObject(value) ? value : undefined
}
