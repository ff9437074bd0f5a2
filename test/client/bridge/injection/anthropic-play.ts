/** Short forms of requests, rounds and events for the tests of Anthropic Messages. */
import { anthropicInjection as api } from '../../../../client/bridge/injection/anthropic.js'
import type { JsonObject, JsonValue } from '../../../../shared/values/text.js'
import { type MeantBlock, type MeantRound, respondWith, resultOf, wikiTools } from './anthropic-provider.js'
import { dataOf, type Play, play } from './play.js'

export const user = (content: JsonValue): JsonObject => ({ role: 'user', content })
export const request: JsonObject = { model: 'm', max_tokens: 9, messages: [user('list my pages')] }
export const streamed: JsonObject = { ...request, stream: true }

export const text = (said: string): MeantBlock => ({ is: 'text', text: said })
export const find: MeantBlock = { is: 'call', name: 'bmcp_wiki_find', input: { a: 1 } }
export const read: MeantBlock = { is: 'call', name: 'Read', input: { path: 'a' } }
export const round = (stopReason: string, ...blocks: MeantBlock[]): MeantRound => ({
  blocks,
  stopReason,
  usage: { input_tokens: 5, output_tokens: 7 },
})
export const done = round('end_turn', text('Done.'))

/** Plays rounds, and returns the bodies parsed. */
export function played(more: Partial<Play>, ...rounds: MeantRound[]) {
  const { responses } = respondWith(rounds, 'a', more.request?.stream === true)
  const all = play({ api, request, tools: wikiTools, result: resultOf, responses, ...more })
  return { ...all, json: all.bodies.map((body): JsonObject => JSON.parse(body)) }
}
export const eventsIn = (shown: string) => dataOf(shown).map((data): JsonObject => JSON.parse(data))
export const typesIn = (shown: string) => eventsIn(shown).map(({ type }) => type)
export const sse = (...data: (JsonObject | string)[]) =>
  data.map(one => `data: ${typeof one === 'string' ? one : JSON.stringify(one)}\n\n`).join('')
