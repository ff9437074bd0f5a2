import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { openaiResponsesInjection as api } from '../../../../client/bridge/injection/openai-responses.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { fc } from '../../../fixtures/random.js'
import { cuts, dataOf, injected, play, resultOf } from './play.js'
import {
  outputOf,
  type Provider,
  type ResponsesRoundSpec,
  responsesBody,
  responsesRounds,
  responsesStream,
} from './responses-rounds.js'

/** Each run plays up to four rounds. */
const runs = { numRuns: 25 }
const tools = ['bmcp_wiki_read', 'bmcp_wiki_write'].map(injected)
const clientTools = ['shell', 'edit'].map(name => ({
  type: 'function',
  name,
  parameters: { type: 'object' },
  strict: true,
}))
const user = (content: string): JsonObject => ({ role: 'user', content })
const request: JsonObject = { model: 'm', input: [user('Find it.')], tools: clientTools }
const provider = fc.record({ store: fc.boolean(), encrypts: fc.boolean() })

const isHidden = ({ type, name }: JsonObject) => type === 'function_call' && `${name}`.startsWith('bmcp_')
const isShown = (item: JsonObject) => !isHidden(item)
const outputs = (rounds: readonly ResponsesRoundSpec[], settings: Provider) =>
  rounds.map((round, number) => outputOf(round, number, settings))
const sum = (rounds: readonly ResponsesRoundSpec[], of: 0 | 1 | 2) =>
  rounds.reduce((total, { usage }) => total + usage[of], 0)
const usageOf = (rounds: readonly ResponsesRoundSpec[]) => ({
  input_tokens: sum(rounds, 0),
  input_tokens_details: { cached_tokens: sum(rounds, 1) },
  output_tokens: sum(rounds, 2),
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: sum(rounds, 0) + sum(rounds, 2),
})
const resultItem = ({ call_id: id, name, arguments: input }: JsonObject): JsonObject => {
  const { parts } = resultOf({ callId: `${id}`, tool: undefined, name: `${name}`, input: `${input}`, arguments: {} })
  return { type: 'function_call_output', call_id: id ?? '', output: parts[0]?.type === 'text' ? parts[0].text : '' }
}
/** Returns the items that a round adds to the input: the provider's own, and the results of hidden calls. */
const ownItems = (output: readonly JsonObject[]): JsonObject[] => [
  ...output,
  ...output.filter(isHidden).map(resultItem),
]
const inputOf = (body: string | undefined): JsonObject[] => JSON.parse(body ?? '{}').input

describe('any rounds and cuts become one response', () => {
  test('a stream has contiguous numbers and places, one end and the sum of the usage', async () => {
    await fc.assert(
      fc.asyncProperty(responsesRounds, provider, cuts, async (rounds, settings, cut) => {
        const responses = rounds.map((round, number) => responsesStream(round, number, settings))
        const own = { ...request, stream: true, store: settings.store }
        const { text, lasts } = play({ api, request: own, tools, responses, cut })
        expect(lasts).toBe(1)
        expect(text).not.toContain('bmcp_')
        const events = dataOf(text).map(data => JSON.parse(data))
        expect(events.map(event => event.sequence_number)).toEqual([...events.keys()])
        const shown = outputs(rounds, settings).flat().filter(isShown)
        const added = events.filter(event => event.type === 'response.output_item.added')
        expect(added.map(event => [event.output_index, event.item.id])).toEqual(
          shown.map(({ id }, index) => [index, id ?? '']),
        )
        const places = new Map(shown.map(({ id }, index) => [id, index]))
        for (const event of events) if (event.item_id) expect(event.output_index).toBe(places.get(event.item_id))
        expect(events.filter(event => event.type === 'response.created')).toHaveLength(1)
        expect(events.filter(event => event.response).length).toBe(3)
        const end = events.at(-1)
        expect(end.type).toBe(`response.${rounds.at(-1)?.status}`)
        expect(end.response.output).toEqual(shown)
        expect(end.response.usage).toEqual(usageOf(rounds))
        expect(end.response.id).toBe(settings.store ? `resp_${rounds.length - 1}` : 'resp_0')
        if (end.type !== 'response.completed') return
        const client = new OpenAI({
          apiKey: 'k',
          maxRetries: 0,
          fetch: async () => new Response(text, { headers: { 'content-type': 'text/event-stream' } }),
        })
        const stream = client.responses.stream({ model: 'm', input: 'x' })
        const deltas: string[] = []
        stream.on('response.output_text.delta', ({ delta }) => deltas.push(delta))
        const final = await stream.finalResponse()
        const parts = final.output.flatMap(item => (item.type === 'message' ? item.content : []))
        expect(parts.map(part => (part.type === 'output_text' ? part.text : '')).join('')).toBe(deltas.join(''))
      }),
      runs,
    )
  })

  test('a body has the visible items of all rounds and the sum of the usage', () => {
    fc.assert(
      fc.property(responsesRounds, provider, cuts, (rounds, settings, cut) => {
        const responses = rounds.map((round, number) => responsesBody(round, number, settings))
        const { text, lasts } = play({ api, request: { ...request, store: settings.store }, tools, responses, cut })
        expect(lasts).toBe(1)
        const { id, output, usage, status } = JSON.parse(text)
        expect(output).toEqual(outputs(rounds, settings).flat().filter(isShown))
        expect(usage).toEqual(usageOf(rounds))
        expect(status).toBe(rounds.at(-1)?.status)
        expect(id).toBe(settings.store ? `resp_${rounds.length - 1}` : 'resp_0')
      }),
      runs,
    )
  })
})

/** Returns the items as a provider that does not store them takes them again. */
function repeatable(output: readonly JsonObject[], { store, encrypts }: Provider): JsonObject[] {
  const isLost = ({ type }: JsonObject) => type === 'reasoning' && !store && !encrypts
  if (!output.some(isLost)) return [...output]
  return output.filter(item => !isLost(item)).map(({ id, ...item }) => item)
}

test('the input of a round is the history and the rounds before, and equal requests have equal bodies', () => {
  fc.assert(
    fc.property(responsesRounds, provider, fc.boolean(), (rounds, settings, isStream) => {
      const write = isStream ? responsesStream : responsesBody
      const responses = rounds.map((round, number) => write(round, number, settings))
      const own = { api, request: { ...request, store: settings.store, stream: isStream }, tools, responses }
      const { bodies } = play(own)
      expect(bodies).toHaveLength(rounds.length)
      const all = outputs(rounds, settings)
      for (const [number, body] of bodies.entries()) {
        const before = all
          .slice(0, number)
          .flatMap(output => [...repeatable(output, settings), ...output.filter(isHidden).map(resultItem)])
        expect(inputOf(body)).toEqual([user('Find it.'), ...before])
        const { input, tools: offered, ...rest } = JSON.parse(body)
        expect(rest).toEqual({ model: 'm', store: settings.store, stream: isStream, parallel_tool_calls: false })
        expect(offered.slice(0, 2)).toEqual(clientTools)
        expect(offered[2]).toEqual({
          type: 'function',
          name: 'bmcp_wiki_read',
          description: 'Tool bmcp_wiki_read',
          parameters: tools[0]?.inputSchema,
          strict: false,
        })
      }
      expect(play(own).bodies).toEqual(bodies)
    }),
    runs,
  )
})

/** The ways in which clients send items back. */
const echoes = {
  whole: (item: JsonObject) => [item],
  'without ids': ({ id, ...item }: JsonObject) => [item],
  'without reasoning': (item: JsonObject) => (item.type === 'reasoning' ? [] : [item]),
  references: (item: JsonObject): JsonObject[] => [{ type: 'item_reference', id: item.id ?? '' }],
  trimmed: ({ id, ...item }: JsonObject): JsonObject[] => {
    const [part] = Array.isArray(item.content) ? item.content : []
    const text = typeof part === 'object' && part && !Array.isArray(part) ? `${part.text}`.trim() : ''
    return item.type === 'message' ? [{ role: 'assistant', content: text }] : item.type === 'reasoning' ? [] : [item]
  },
}

test.each(Object.entries(echoes))(
  'the next turn has the items that the provider has seen, if the client sends them %s',
  (way, echo) => {
    fc.assert(
      fc.property(responsesRounds, provider, (rounds, own) => {
        // Reasoning without an id is of use to a provider only if it is encrypted.
        const settings = way === 'without ids' ? { ...own, encrypts: true } : own
        const responses = rounds.map((round, number) => responsesBody(round, number, settings))
        const first = play({ api, request: { ...request, store: settings.store }, tools, responses })
        const all = outputs(rounds, settings)
        expect(first.turn !== undefined).toBe(all.flat().some(isHidden))
        const shown: JsonObject[] = JSON.parse(first.text).output
        const calls = shown.filter(({ type }) => type === 'function_call')
        const after = [
          ...calls.map(
            ({ call_id: id }): JsonObject => ({ type: 'function_call_output', call_id: id ?? '', output: 'ok' }),
          ),
          user('Go on.'),
        ]
        const input = [user('Find it.'), ...shown.flatMap(echo), ...after]
        const turns = first.turn ? [JSON.parse(JSON.stringify(first.turn))] : []
        const next = play({ api, request: { ...request, input }, tools, turns, responses: [] })
        const seen = inputOf(Buffer.concat(next.injected.body()).toString())
        const hasIds = way === 'whole' || way === 'references'
        const expected = all.flatMap(output => {
          const isWhole = hasIds || (way === 'without reasoning' && !output.some(({ type }) => type === 'reasoning'))
          return ownItems(output).flatMap(item => {
            if (!isHidden(item)) return item.type === 'function_call_output' ? [item] : echo(item)
            const { id, ...bare } = item
            return [isWhole ? item : bare]
          })
        })
        const hidden = (items: JsonObject[]) =>
          items.filter(item => isHidden(item) || `${item.output}`.startsWith('result'))
        // Equal short texts in one turn are told apart by their order only.
        if (way === 'trimmed') expect(hidden(seen)).toEqual(hidden(expected))
        else expect(seen).toEqual([user('Find it.'), ...expected, ...after])
      }),
      runs,
    )
  },
)
