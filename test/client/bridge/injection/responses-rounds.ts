/** Rounds of Responses as providers write them. */
import type { JsonObject } from '../../../../shared/values/text.js'
import { fc } from '../../../fixtures/random.js'

/** An item of a round: text of a message, reasoning, or a call by its name. */
export type ItemSpec = { text: string } | { reasoning: string } | { call: string; input: string }

export interface ResponsesRoundSpec {
  items: ItemSpec[]
  status: 'completed' | 'incomplete'
  /** input, cached, output */
  usage: [number, number, number]
}

/** Settings of a provider. */
export interface Provider {
  store: boolean
  encrypts: boolean
}

/** Returns the items of a round as the provider's whole response has them. */
export function outputOf({ items }: ResponsesRoundSpec, number: number, { encrypts }: Provider): JsonObject[] {
  return items.map((item, place): JsonObject => {
    const at = `${number}_${place}`
    if ('text' in item) {
      const content = [{ type: 'output_text', annotations: [], logprobs: [], text: item.text }]
      return { id: `msg_${at}`, type: 'message', status: 'completed', content, role: 'assistant' }
    }
    if ('reasoning' in item) {
      const summary = [{ type: 'summary_text', text: item.reasoning }]
      return { id: `rs_${at}`, type: 'reasoning', ...(encrypts && { encrypted_content: `enc_${at}` }), summary }
    }
    return {
      id: `fc_${at}`,
      type: 'function_call',
      status: 'completed',
      arguments: item.input,
      call_id: `call_${at}`,
      name: item.call,
    }
  })
}

function snapshotOf(round: ResponsesRoundSpec, number: number, provider: Provider): JsonObject {
  const [input, cached, output] = round.usage
  return {
    id: `resp_${number}`,
    object: 'response',
    created_at: number,
    status: round.status,
    error: null,
    incomplete_details: round.status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    model: 'm',
    output: outputOf(round, number, provider),
    store: provider.store,
    usage: {
      input_tokens: input,
      input_tokens_details: { cached_tokens: cached },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    },
  }
}

/** Writes a round as a body. */
export function responsesBody(round: ResponsesRoundSpec, number: number, provider: Provider): string {
  return JSON.stringify(snapshotOf(round, number, provider), null, 2)
}

/** Writes a round as a stream. */
export function responsesStream(round: ResponsesRoundSpec, number: number, provider: Provider): string {
  const whole = snapshotOf(round, number, provider)
  const begun = { ...whole, status: 'in_progress', output: [], usage: null }
  const events: JsonObject[] = [
    { type: 'response.created', response: begun },
    { type: 'response.in_progress', response: begun },
  ]
  for (const [place, item] of outputOf(round, number, provider).entries()) {
    const spec = round.items[place]
    const at = { output_index: place, item_id: item.id ?? '' }
    const empty = 'content' in item ? { content: [] } : 'summary' in item ? { summary: [] } : { arguments: '' }
    events.push({
      type: 'response.output_item.added',
      output_index: place,
      item: { ...item, ...empty, status: 'in_progress' },
    })
    if (spec && 'text' in spec) {
      const part = { type: 'output_text', annotations: [], logprobs: [], text: '' }
      events.push({ type: 'response.content_part.added', ...at, content_index: 0, part })
      for (const delta of spec.text.match(/.{1,5}/gs) ?? [])
        events.push({ type: 'response.output_text.delta', ...at, content_index: 0, delta, logprobs: [] })
      events.push({ type: 'response.output_text.done', ...at, content_index: 0, text: spec.text, logprobs: [] })
    }
    if (spec && 'call' in spec) {
      for (const delta of spec.input.match(/.{1,5}/gs) ?? [])
        events.push({ type: 'response.function_call_arguments.delta', ...at, delta })
      events.push({ type: 'response.function_call_arguments.done', ...at, arguments: spec.input })
    }
    events.push({ type: 'response.output_item.done', output_index: place, item })
  }
  events.push({ type: `response.${round.status}`, response: whole })
  return events
    .map((event, sequence_number) => `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number })}\n\n`)
    .join('')
}

const text = fc.constantFrom('I look it up.', 'Done.', ' é🎉\n', 'a'.repeat(80)).map(own => ({ text: own }))
const reasoning = fc.constantFrom('', 'I think.').map(own => ({ reasoning: own }))
const call = (...names: string[]) =>
  fc.record({ call: fc.constantFrom(...names), input: fc.constantFrom('{}', '{"q":"a \\"b\\""}') })
const hidden = call('bmcp_wiki_read', 'bmcp_wiki_write')
const visible = call('shell', 'edit')
const usage = fc.tuple(fc.nat(1000), fc.nat(100), fc.nat(100))
const status = fc.constant('completed' as const)
const before = fc.array(fc.oneof(text, reasoning), { maxLength: 3 })

/** Rounds with hidden calls, and the round that ends the response. */
export const responsesRounds = fc
  .record({
    hidden: fc.array(
      fc.record({
        usage,
        status,
        items: fc.tuple(before, fc.array(hidden, { minLength: 1, maxLength: 2 })).map(lists => lists.flat()),
      }),
      { maxLength: 3 },
    ),
    last: fc.oneof(
      fc.record({
        usage,
        status: fc.constantFrom('completed' as const, 'incomplete' as const),
        items: fc.tuple(before, text).map(([first, last]) => [...first, last]),
      }),
      fc.record({
        usage,
        status,
        items: fc
          .tuple(before, fc.array(fc.oneof(hidden, visible), { maxLength: 2 }), visible)
          .map(([first, more, last]) => [...first, ...more, last]),
      }),
    ),
  })
  .map(({ hidden, last }): ResponsesRoundSpec[] => [...hidden, last])
