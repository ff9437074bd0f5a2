/** Rounds of Chat Completions as providers write them. */
import { fc } from '../../../fixtures/random.js'

export interface ChatCallSpec {
  id: string
  name: string
  input: string
}

export interface ChatRoundSpec {
  /** parts of the text */
  text: string[]
  reasoning: string[]
  calls: ChatCallSpec[]
  finish: string
  /** input, cached, output */
  usage: [number, number, number]
}

/** The ways in which providers label the parts of calls. */
export const spellings = ['openai', 'whole calls', 'one chunk', 'no index', 'no ids', 'late name'] as const
export type Spelling = (typeof spellings)[number]

const usageOf = ([input, cached, output]: ChatRoundSpec['usage']) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  prompt_tokens_details: { cached_tokens: cached },
})

/** Writes a round as a stream. */
export function chatStream(round: ChatRoundSpec, number: number, spelling: Spelling, hasUsage = true): string {
  const id = `chatcmpl-${number}`
  const chunk = (delta: object, finish: string | null = null, more: object = {}) =>
    `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: number, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`
  const end = hasUsage
    ? `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: number, model: 'm', choices: [], usage: usageOf(round.usage) })}\n\n`
    : ''
  const label = (call: ChatCallSpec, index: number) => ({
    ...(spelling !== 'no index' && { index }),
    ...(spelling !== 'no ids' && { id: call.id }),
    type: 'function',
  })
  const whole = round.calls.map((call, index) => ({
    ...label(call, index),
    function: { name: call.name, arguments: call.input },
  }))
  const text = round.text.map(content => chunk({ content }))
  const reasoning = round.reasoning.map(part => chunk({ reasoning_content: part }))
  if (spelling === 'one chunk') {
    const delta = {
      role: 'assistant',
      content: round.text.join(''),
      ...(round.reasoning.length > 0 && { reasoning_content: round.reasoning.join('') }),
      ...(whole.length > 0 && { tool_calls: whole }),
    }
    return `${chunk(delta, round.finish)}${end}data: [DONE]\n\n`
  }
  const isWhole = spelling === 'whole calls' || spelling === 'no index' || spelling === 'no ids'
  const calls = round.calls.flatMap((call, index) => {
    if (isWhole) return [chunk({ tool_calls: [whole[index]] })]
    const half = Math.floor(call.input.length / 2)
    const part = (json: object) => chunk({ tool_calls: [{ index, ...json }] })
    const parts = [call.input.slice(0, half), call.input.slice(half)].map(input =>
      part({ function: { arguments: input } }),
    )
    if (spelling === 'late name') {
      return [
        part({ id: call.id, type: 'function', function: { arguments: '' } }),
        part({ function: { name: call.name } }),
        ...parts,
      ]
    }
    return [part({ ...label(call, index), function: { name: call.name, arguments: '' } }), ...parts]
  })
  const begin = chunk({ role: 'assistant', content: '' })
  return `${begin}${reasoning.join('')}${text.join('')}${calls.join('')}${chunk({}, round.finish)}${end}data: [DONE]\n\n`
}

/** Writes a round as a body. */
export function chatBody(round: ChatRoundSpec, number: number): string {
  const calls = round.calls.map(({ id, name, input }) => ({
    id,
    type: 'function',
    function: { name, arguments: input },
  }))
  const message = {
    role: 'assistant',
    content: round.text.length > 0 ? round.text.join('') : null,
    ...(round.reasoning.length > 0 && { reasoning_content: round.reasoning.join('') }),
    refusal: null,
    ...(calls.length > 0 && { tool_calls: calls }),
  }
  const choices = [{ index: 0, message, logprobs: null, finish_reason: round.finish }]
  return JSON.stringify(
    {
      id: `chatcmpl-${number}`,
      object: 'chat.completion',
      created: number,
      model: 'm',
      choices,
      usage: usageOf(round.usage),
    },
    null,
    2,
  )
}

const word = fc.constantFrom('I ', 'look', ' it up', '\n', ' ', 'Done.', 'é🎉', ':')
const texts = fc.array(word, { maxLength: 4 })
const usage = fc.tuple(fc.nat(1000), fc.nat(100), fc.nat(100))
const call = (name: fc.Arbitrary<string>) =>
  fc.record({ id: fc.constant(''), name, input: fc.constantFrom('{}', '{"q":"a \\"b\\" {c}"}', '{"n":1}') })
const hiddenCall = call(fc.constantFrom('bmcp_wiki_read', 'bmcp_wiki_write'))
const clientCall = call(fc.constantFrom('shell', 'edit'))
const finished = { text: texts, reasoning: texts, usage }

/** Rounds with hidden calls, and the round that ends the response. */
export const chatRounds = fc
  .record({
    hidden: fc.array(
      fc.record({
        ...finished,
        calls: fc.array(hiddenCall, { minLength: 1, maxLength: 2 }),
        finish: fc.constantFrom('tool_calls', 'stop'),
      }),
      { maxLength: 3 },
    ),
    last: fc.oneof(
      fc.record({ ...finished, calls: fc.constant<ChatCallSpec[]>([]), finish: fc.constantFrom('stop', 'length') }),
      fc.record({
        ...finished,
        calls: fc
          .array(fc.oneof(hiddenCall, clientCall), { maxLength: 3 })
          .chain(more => clientCall.map(own => [...more, own])),
        finish: fc.constant('tool_calls'),
      }),
    ),
  })
  .map(({ hidden, last }): ChatRoundSpec[] =>
    [...hidden, last].map((round, number) => ({
      ...round,
      calls: round.calls.map((own, place) => ({ ...own, id: `call_${number}_${place}` })),
    })),
  )
