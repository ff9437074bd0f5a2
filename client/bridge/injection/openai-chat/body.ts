/** Blocking responses of Chat Completions. */
import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { objectsOf, parsed, textOf } from '../../providers/reading.js'
import { GrowingCalls, selectionOf } from '../../providers/responses/chat-calls.js'
import { type ClientBytes, finalRound, type Verdict } from '../round-bytes.js'
import type { ChatResponse } from './response.js'
import { cutReasons, finishedCalls, RoundTexts, SortedCall } from './round.js'

/** Reads the body of one round and, if it is the last one, writes the client's body. */
export function mergeBody(response: ChatResponse, bytes: Buffer, out: ClientBytes): Verdict {
  const json = parsed(bytes.toString())
  const [choice] = isPlainObject(json) ? objectsOf(json.choices) : []
  if (!isPlainObject(json) || !choice || !isPlainObject(choice.message)) {
    out.end(bytes) // an error, or no response of the API
    return finalRound
  }
  const body = json as JsonObject // came out of JSON.parse
  const message = choice.message as JsonObject // as above
  const all = sortedCalls(response, message)
  const isCut = cutReasons.test(textOf(choice.finish_reason) ?? '')
  const calls = finishedCalls(isCut ? all.filter(call => call.kind !== 'hidden') : all)
  const texts = new RoundTexts()
  texts.add(message)
  const hidden = calls.flatMap(call => ('hidden' in call ? call.hidden : []))
  const isMixed = hidden.length < calls.length || isPlainObject(message.function_call)
  const verdict = hidden.length === 0 ? finalRound : { calls: hidden, isFinal: isMixed }

  const isFirst = response.rounds.length === 0
  response.rewriteHead(body)
  const usage = isPlainObject(body.usage) ? (body.usage as JsonObject) : undefined // came out of JSON.parse
  if (usage) body.usage = response.summed(usage)
  response.ended({ texts: texts.texts, details: texts.details, calls, results: [] }, usage)
  response.bodies.push(body)
  if (!verdict.isFinal) return verdict
  const isUnchanged = isFirst && all.every(call => call.kind !== 'hidden')
  if (!isUnchanged) leaveHiddenOut(message, all)
  out.end(isUnchanged ? bytes : JSON.stringify(merged(response.bodies)))
  return verdict
}

function sortedCalls(response: ChatResponse, message: JsonObject): SortedCall[] {
  const calls = new GrowingCalls(() => new SortedCall(response.names))
  for (const whole of objectsOf(message.tool_calls) as readonly JsonObject[]) {
    const call = calls.add(selectionOf(whole))
    call?.keep(whole)
    call?.waiting.push(whole)
  }
  return calls.all
}

function leaveHiddenOut(message: JsonObject, calls: readonly SortedCall[]): void {
  const shown = calls.flatMap(call => (call.kind === 'hidden' ? [] : call.waiting))
  if (shown.length > 0) message.tool_calls = shown
  else delete message.tool_calls
}

/** Returns the last body with the texts of all. */
function merged(bodies: readonly JsonObject[]): JsonObject {
  const last = bodies.at(-1) ?? {}
  const choices = bodies.map(body => firstOf(body.choices))
  const [choice, others] = [choices.at(-1) ?? {}, objectsOf(last.choices).slice(1) as JsonObject[]] // out of JSON.parse
  const messages = choices.map(({ message }) => (isPlainObject(message) ? (message as JsonObject) : {}))
  const message = { ...messages.at(-1), ...joinedMembers(messages) }
  const logprobs = joinedMembers(
    choices.flatMap(({ logprobs }) => (isPlainObject(logprobs) ? [logprobs as JsonObject] : [])),
  )
  const withProbabilities = Object.keys(logprobs).length > 0 ? { logprobs } : {}
  return { ...last, choices: [{ ...choice, message, ...withProbabilities }, ...others] }
}

function firstOf(choices: JsonValue | undefined): JsonObject {
  return (objectsOf(choices)[0] ?? {}) as JsonObject // came out of JSON.parse
}

/** Members of a message, and of log probabilities, that add up from round to round. */
const growingMembers = [
  'content',
  'reasoning_content',
  'reasoning',
  'reasoning_details',
  'annotations',
  'images',
  'refusal',
]

/** Returns the members that several rounds have: texts joined, lists in one. */
function joinedMembers(objects: readonly JsonObject[]): JsonObject {
  const joined: JsonObject = {}
  for (const name of growingMembers) {
    const values = objects.map(object => object[name]).filter(value => value !== undefined && value !== null)
    if (values.length === 0) continue
    if (values.every(value => typeof value === 'string')) joined[name] = values.join('')
    else joined[name] = values.flatMap(value => (typeof value === 'string' ? { type: 'text', text: value } : value))
  }
  return joined
}
