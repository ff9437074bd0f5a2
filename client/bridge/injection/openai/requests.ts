/** Parts of the requests, and the errors, of both of OpenAI's APIs that take injected tools. */
import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { openaiErrorBody } from '../../providers/openai-error-body.js'
import { jsonTextOf, objectsOf } from '../../providers/reading.js'
import { unframe } from '../../providers/requests/client-elements.js'
import { turnOf } from '../../providers/requests/content.js'
import { arrayText, type JsonEdits } from '../../wire/json-edit.js'
import type { JsonNode } from '../../wire/json-node.js'
import { type ProviderError, providerErrorText } from '../provider-error.js'

/** Returns whether tools can be added to those of a request. Any other value is an error that the provider rejects. */
export function mayTakeTools(tools: JsonValue | undefined): boolean {
  return tools === undefined || tools === null || Array.isArray(tools)
}

/**
 * Returns the first words of the user, without the elements that clients add; undefined without a message of the user.
 */
export function openingOfMessages(messages: JsonValue | undefined): string | undefined {
  const users = objectsOf(messages).filter(({ role }) => role === 'user')
  for (const { content } of users) {
    const words = turnOf(content).texts.map(text => unframe(text, undefined).words)
    const text = words.filter(word => word !== '').join('\n')
    if (text !== '') return text
  }
  // Pictures, or a text of the client's elements alone.
  const [first] = users
  return first && jsonTextOf(isPlainObject(first.content) ? [first.content] : first.content)
}

/** Adds tools behind those of the client, and switches parallel calls off. */
export function addTools(
  edits: JsonEdits,
  request: JsonNode,
  tools: readonly JsonObject[],
  parallel: JsonValue | undefined,
): void {
  if (tools.length === 0) return
  const list = request.member('tools')
  const texts = tools.map(tool => JSON.stringify(tool))
  if (list?.isArray) edits.insert(list, list.elements.length, ...texts)
  else edits.set(['tools'], arrayText(texts))
  if (parallel !== false) edits.set(['parallel_tool_calls'], 'false')
}

/** Returns the JSON text of an error, in which a provider's own words go before the message. */
export function errorText(message: string, error?: ProviderError): string {
  return error ? providerErrorText(error, message, {}, openaiErrorBody) : openaiErrorBody(502, message)
}
