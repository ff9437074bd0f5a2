import { describe, expect, test } from 'vitest'
import type { BridgedRoute, ResponseFacts } from '../../../../../client/bridge/providers/provider-api.js'
import { anthropicMessages } from '../../../../../client/bridge/providers/responses/anthropic-messages.js'
import { openaiChat } from '../../../../../client/bridge/providers/responses/openai-chat.js'
import { openaiEmbeddings } from '../../../../../client/bridge/providers/responses/openai-embeddings.js'
import { openaiResponses } from '../../../../../client/bridge/providers/responses/openai-responses.js'
import { fc } from '../../../../fixtures/random.js'

function readBody(route: BridgedRoute, body: object): ResponseFacts {
  const reader = route.createResponseReader()
  reader.body(body)
  return reader.facts()
}

function readEvents(route: BridgedRoute, events: readonly object[]): ResponseFacts {
  const reader = route.createResponseReader()
  for (const event of events) reader.event({ event: '', data: JSON.stringify(event) })
  return reader.facts()
}

/** Input, output, cache reads, cache writes. */
const countsOf = ({ usage }: ResponseFacts) => usage && [usage.input, usage.output, usage.cacheRead, usage.cacheWrite]

/** How a provider writes down what it billed. The places and names are those of its own pages, by provider. */
interface Spelling {
  provider: string
  route: BridgedRoute
  write(billed: Billed): object
}

interface Billed {
  plain: number
  cacheRead: number
  cacheWrite: number
  reasoning: number
  text: number
}

const input = ({ plain, cacheRead, cacheWrite }: Billed) => plain + cacheRead + cacheWrite
const output = ({ reasoning, text }: Billed) => reasoning + text
const total = (billed: Billed) => input(billed) + output(billed)

const spellings: Spelling[] = [
  {
    provider: 'OpenAI Chat',
    route: openaiChat,
    write: b => ({
      prompt_tokens: input(b),
      completion_tokens: output(b),
      total_tokens: total(b),
      prompt_tokens_details: { cached_tokens: b.cacheRead, cache_write_tokens: b.cacheWrite, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: b.reasoning },
    }),
  },
  {
    provider: 'OpenAI Responses',
    route: openaiResponses,
    write: b => ({
      input_tokens: input(b),
      output_tokens: output(b),
      total_tokens: total(b),
      input_tokens_details: { cached_tokens: b.cacheRead, cache_write_tokens: b.cacheWrite },
      output_tokens_details: { reasoning_tokens: b.reasoning },
    }),
  },
  {
    provider: 'a proxy that has the names of Chat in Responses',
    route: openaiResponses,
    write: b => ({
      prompt_tokens: input(b),
      completion_tokens: output(b),
      prompt_tokens_details: { cached_tokens: b.cacheRead },
      cache_creation_input_tokens: b.cacheWrite,
    }),
  },
  {
    provider: 'DeepSeek',
    route: openaiChat,
    write: b => ({
      prompt_tokens: input(b),
      completion_tokens: output(b),
      total_tokens: total(b),
      prompt_cache_hit_tokens: b.cacheRead,
      prompt_cache_miss_tokens: b.plain + b.cacheWrite,
      prompt_tokens_details: { cached_tokens: b.cacheRead, cache_creation_tokens: b.cacheWrite },
    }),
  },
  {
    provider: 'Moonshot',
    route: openaiChat,
    write: b => ({
      prompt_tokens: input(b),
      completion_tokens: output(b),
      total_tokens: total(b),
      cached_tokens: b.cacheRead,
      prompt_tokens_details: { cache_write_tokens: b.cacheWrite },
    }),
  },
  {
    provider: 'xAI, with reasoning beside the completion',
    route: openaiChat,
    write: b => ({
      prompt_tokens: input(b),
      completion_tokens: b.text,
      total_tokens: total(b),
      prompt_tokens_details: { cached_tokens: b.cacheRead, cache_write_tokens: b.cacheWrite },
      completion_tokens_details: { reasoning_tokens: b.reasoning },
    }),
  },
  {
    provider: 'LiteLLM before Anthropic',
    route: openaiChat,
    write: b => ({
      prompt_tokens: input(b),
      completion_tokens: output(b),
      total_tokens: total(b),
      cache_read_input_tokens: b.cacheRead,
      cache_creation_input_tokens: b.cacheWrite,
      prompt_tokens_details: { cached_tokens: b.cacheRead, cache_creation_tokens: b.cacheWrite },
    }),
  },
  {
    provider: 'vLLM',
    route: openaiChat,
    write: b => ({
      prompt_tokens: input(b),
      completion_tokens: output(b),
      num_cached_tokens: b.cacheRead,
      prompt_token_details: { cached_tokens: b.cacheRead },
      cache_write_tokens: b.cacheWrite,
    }),
  },
  {
    provider: 'a proxy that leaves the names of Chat at 0',
    route: openaiResponses,
    write: b => ({
      prompt_tokens: 0,
      completion_tokens: 0,
      total_tokens: total(b),
      input_tokens: input(b),
      output_tokens: output(b),
      input_tokens_details: { cached_tokens: b.cacheRead, cache_write_tokens: b.cacheWrite },
    }),
  },
  {
    provider: 'Bedrock before a proxy, in camel case',
    route: openaiChat,
    write: b => ({
      inputTokens: input(b),
      outputTokens: output(b),
      totalTokens: total(b),
      cacheReadInputTokens: b.cacheRead,
      cacheWriteInputTokens: b.cacheWrite,
    }),
  },
  {
    provider: "a proxy that has OpenAI's names on Anthropic's route",
    route: anthropicMessages,
    write: b => ({
      prompt_tokens: input(b),
      completion_tokens: output(b),
      cached_tokens: b.cacheRead,
      prompt_tokens_details: { cache_write_tokens: b.cacheWrite },
    }),
  },
  {
    provider: 'Anthropic',
    route: anthropicMessages,
    write: b => ({
      input_tokens: b.plain,
      output_tokens: output(b),
      cache_read_input_tokens: b.cacheRead,
      cache_creation_input_tokens: b.cacheWrite,
      cache_creation: { ephemeral_5m_input_tokens: b.cacheWrite, ephemeral_1h_input_tokens: 0 },
    }),
  },
  {
    provider: 'Anthropic, cache writes by lifetime only',
    route: anthropicMessages,
    write: b => ({
      input_tokens: b.plain,
      output_tokens: output(b),
      cache_read_input_tokens: b.cacheRead,
      cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: b.cacheWrite },
    }),
  },
]

const count = fc.integer({ min: 1, max: 1_000_000 })
const billed: fc.Arbitrary<Billed> = fc.record({
  plain: count,
  cacheRead: count,
  cacheWrite: count,
  reasoning: count,
  text: count,
})

describe.each(spellings)('usage as written by $provider', ({ route, write }) => {
  test('the same tokens give the same counts, with fields in any order and unknown fields between them', () => {
    fc.assert(
      fc.property(billed, fc.infiniteStream(fc.nat()), fc.jsonValue(), (tokens, order, unknown) => {
        const fields = Object.entries({ ...write(tokens), x_vendor_note: unknown })
        const shuffled = fields
          .map(field => [order.next().value, field] as const)
          .sort(([a], [b]) => a - b)
          .map(([, field]) => field)
        const facts = readBody(route, { content: [], choices: [], output: [], usage: Object.fromEntries(shuffled) })
        expect(countsOf(facts)).toEqual([tokens.plain, output(tokens), tokens.cacheRead, tokens.cacheWrite])
        expect(facts.usageMismatch).toBe(false)
      }),
    )
  })
})

describe('each name of a count is read at the top and in every group, in snake case and in camel case', () => {
  const inputGroups = ['prompt_tokens_details', 'prompt_token_details', 'input_tokens_details', 'input_token_details']
  const outputGroups = [
    'completion_tokens_details',
    'completion_token_details',
    'output_tokens_details',
    'output_token_details',
  ]
  const camel = (name: string) => name.replace(/_./g, pair => pair.slice(1).toUpperCase())
  const places = (groups: readonly string[], name: string, count: number): [string, object][] => [
    [name, { [name]: count }],
    [camel(name), { [camel(name)]: count }],
    ...groups.map((group): [string, object] => [`${group}.${name}`, { [group]: { [name]: count } }]),
  ]
  const read = (more: object) =>
    readBody(openaiChat, { choices: [], usage: { prompt_tokens: 100, completion_tokens: 50, ...more } })

  test.each(
    [
      'cached_tokens',
      'prompt_cache_hit_tokens',
      'cache_read_input_tokens',
      'cache_read_tokens',
      'cached_prompt_tokens',
      'cached_input_tokens',
      'num_cached_tokens',
      'cache_hit_tokens',
    ].flatMap(name => places(inputGroups, name, 30)),
  )('cache reads: %s', (_, more) => expect(countsOf(read(more))).toEqual([70, 50, 30, 0]))

  test.each(
    [
      'cache_write_tokens',
      'cache_creation_tokens',
      'cache_creation_input_tokens',
      'cache_write_input_tokens',
      'prompt_cache_write_tokens',
    ].flatMap(name => places(inputGroups, name, 30)),
  )('cache writes: %s', (_, more) => expect(countsOf(read(more))).toEqual([70, 50, 0, 30]))

  test.each(['reasoning_tokens', 'thinking_tokens'].flatMap(name => places(outputGroups, name, 30)))(
    'reasoning beside the output: %s',
    (_, more) => {
      // A count of cached tokens, so that only the reasoning explains the excess.
      const facts = read({ ...more, total_tokens: 180, prompt_cache_hit_tokens: 0 })
      expect([countsOf(facts), facts.usageMismatch]).toEqual([[100, 80, 0, 0], false])
    },
  )
})

describe('a total that the parts do not reach', () => {
  const usage = { prompt_tokens: 100, completion_tokens: 50 }
  test.each<[string, object, number, boolean]>([
    ['that no detail explains is output', { total_tokens: 170 }, 70, false],
    [
      'that equals the reasoning is output',
      { total_tokens: 170, completion_tokens_details: { reasoning_tokens: 20 } },
      70,
      false,
    ],
    [
      'beside other reasoning is counted and not guessed',
      { total_tokens: 170, completion_tokens_details: { reasoning_tokens: 5 } },
      50,
      true,
    ],
    [
      'beside cache counts is counted and not guessed',
      { total_tokens: 170, prompt_tokens_details: { cached_tokens: 20 } },
      50,
      true,
    ],
    ['that is smaller than its parts is counted', { total_tokens: 120 }, 50, true],
    ['that fits needs nothing', { total_tokens: 150, completion_tokens_details: { reasoning_tokens: 40 } }, 50, false],
    ['that is absent needs nothing', {}, 50, false],
    ['beside more cached tokens than input is counted', { prompt_tokens_details: { cached_tokens: 101 } }, 50, true],
  ])('%s', (_, more, outputTokens, isMismatched) => {
    const facts = readBody(openaiChat, { choices: [], usage: { ...usage, ...more } })
    expect([facts.usage?.output, facts.usageMismatch]).toEqual([outputTokens, isMismatched])
  })

  test('a missed total of an older chunk does not count against newer counts', () => {
    const chunk = (usage: object) => ({ choices: [], usage })
    const facts = readEvents(openaiChat, [
      chunk({ ...usage, total_tokens: 150 }),
      chunk({ prompt_tokens: 100, completion_tokens: 90 }),
    ])
    expect([facts.usage?.output, facts.usageMismatch]).toEqual([90, false])
  })
})

describe('iterations of an Anthropic response', () => {
  const counts = (n: number) => ({
    input_tokens: n,
    output_tokens: n + 1,
    cache_read_input_tokens: n + 2,
    cache_creation_input_tokens: n + 3,
  })
  const top = { type: 'message', ...counts(1) }

  test('compactions and calls of the advisor are billed beside the response, in the order of the list', () => {
    const kinds = fc.constantFrom('message', 'fallback_message', 'compaction', 'advisor_message')
    fc.assert(
      fc.property(fc.array(kinds, { maxLength: 8 }), list => {
        const iterations = list.map((type, index) => ({
          type,
          ...counts(100 * index),
          ...(type === 'advisor_message' && { model: `advisor-${index}` }),
        }))
        const facts = readBody(anthropicMessages, { type: 'message', content: [], usage: { ...counts(1), iterations } })
        expect(countsOf(facts)).toEqual([1, 2, 3, 4])
        expect(
          facts.billedBeside?.map(part => [part.model, part.input, part.output, part.cacheRead, part.cacheWrite]),
        ).toEqual(
          list.flatMap((type, index) => {
            const n = 100 * index
            const model = type === 'advisor_message' ? `advisor-${index}` : undefined
            return type.endsWith('message') && type !== 'advisor_message' ? [] : [[model, n, n + 1, n + 2, n + 3]]
          }),
        )
        expect(facts.unknownItems).toBe(0)
      }),
    )
  })

  test('the newest list of a stream replaces the older one whole', () => {
    const delta = (...iterations: object[]) => ({ type: 'message_delta', usage: { output_tokens: 2, iterations } })
    const compaction = { type: 'compaction', ...counts(50) }
    const facts = readEvents(anthropicMessages, [delta(top, compaction, compaction), delta(compaction)])
    expect(facts.billedBeside?.map(({ input }) => input)).toEqual([50])
  })

  test('an iteration of an unknown type is counted as an unknown item', () => {
    const usage = { ...counts(1), iterations: [{ type: 'something_new', ...counts(9) }, top] }
    const facts = readBody(anthropicMessages, { type: 'message', content: [], usage })
    expect([facts.billedBeside, facts.unknownItems]).toEqual([[], 1])
  })
})

describe('the usage of a stream of Chat', () => {
  const usage = { prompt_tokens: 10, completion_tokens: 0 }
  const text = (content: string, more: object = {}) => ({ choices: [{ index: 0, delta: { content }, ...more }] })
  test.each<[string, object[], boolean]>([
    ['before the text is a beginning', [{ choices: [], usage }, text('abc')], false],
    [
      'before the text is a beginning, also where the stream ends',
      [{ choices: [], usage }, text('abc'), text('', { finish_reason: 'stop' })],
      false,
    ],
    ['beside the last text is final', [text('abc'), { ...text('d'), usage }], true],
    ['behind the reason for the end is final', [text('abc', { finish_reason: 'stop' }), { choices: [], usage }], true],
  ])('%s', (_, events, isFinal) => {
    expect(readEvents(openaiChat, events).usageIsFinal).toBe(isFinal)
  })
})

describe('the usage of embeddings', () => {
  const read = (usage: object) => {
    const facts = readBody(openaiEmbeddings, { data: [], usage })
    return [countsOf(facts), facts.usageMismatch]
  }
  test('the usage of embeddings is all input, and a total that differs is a mismatch', () => {
    expect(read({ prompt_tokens: 8, total_tokens: 8 })).toEqual([[8, 0, 0, 0], false])
    expect(read({ total_tokens: 10 })).toEqual([[10, 0, 0, 0], false])
    expect(read({ prompt_tokens: 8, total_tokens: 20 })).toEqual([[8, 0, 0, 0], true])
  })
})

test('usage beside the response of the last event counts', () => {
  const event = {
    type: 'response.done',
    response: { id: 'r', output: [] },
    usage: { input_tokens: 9, output_tokens: 100 },
  }
  expect(countsOf(readEvents(openaiResponses, [event]))).toEqual([9, 100, 0, 0])
})

test('cache writes by lifetime that do not add up to all cache writes are a mismatch', () => {
  const usage = {
    input_tokens: 1,
    output_tokens: 1,
    cache_creation_input_tokens: 9,
    cache_creation: { ephemeral_5m_input_tokens: 5 },
  }
  expect(readBody(anthropicMessages, { content: [], usage }).usageMismatch).toBe(true)
})
