/** Requests of OpenAI Responses (https://platform.openai.com/docs/api-reference/responses). */
import type { IncomingHttpHeaders } from 'node:http'
import type { JsonObject } from '../../../../shared/values/text.js'
import type { RequestFacts } from '../provider-api.js'
import { lastSpoken, objectsOf, textOf } from '../reading.js'
import { recogniseSession } from './client-recognition.js'

/** Reads a request of `POST /responses`. Never throws, for any JSON. */
export function readResponsesRequest({ model, input }: JsonObject, headers: IncomingHttpHeaders): RequestFacts {
  const items = objectsOf(input)
  const lastOfOthers = lastSpoken(items.filter(({ role }) => role !== 'user'))
  const isToolResult = textOf(lastOfOthers?.type)?.endsWith('_output') ?? false
  return {
    model: textOf(model) ?? '',
    prompt: textOf(input) ?? promptOf(lastSpoken(items)),
    correlatingToolCallId: isToolResult ? textOf(lastOfOthers?.call_id) : undefined,
    sessionId: recogniseSession(headers),
  }
}

function promptOf(item: Record<string, unknown> | undefined): string | undefined {
  if (item?.role !== 'user') return undefined
  const texts = objectsOf(item.content).flatMap(part => (part.type === 'input_text' ? (textOf(part.text) ?? []) : []))
  return textOf(item.content) ?? textOf(texts.join('\n'))
}
