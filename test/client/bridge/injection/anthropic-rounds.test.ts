/** Properties of whole turns: what the client sees, and what the provider gets. */
import Anthropic from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import { anthropicInjection } from '../../../../client/bridge/injection/anthropic.js'
import type { HiddenTurn } from '../../../../client/bridge/injection/injection-api.js'
import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { fc } from '../../../fixtures/random.js'
import { boundHistory, thinkingError } from '../../../fixtures/signed-thinking.js'
import { type MeantRound, respondWith, resultBlock, resultOf, turns, wikiTools } from './anthropic-provider.js'
import { cuts, type Play, type Played, play } from './play.js'

const request: JsonObject = {
  model: 'claude-stand-in',
  max_tokens: 1000,
  system: 'Be brief.',
  tools: [{ name: 'Read', input_schema: { type: 'object' } }],
  messages: [{ role: 'user', content: 'list my pages' }],
}
const streamed = { ...request, stream: true }

const playTurn = (rest: Omit<Play, 'api' | 'tools' | 'result'>): Played & { json: JsonObject[] } => {
  const played = play({ api: anthropicInjection, tools: wikiTools, result: resultOf, ...rest })
  return { ...played, json: played.bodies.map(body => JSON.parse(body)) }
}

const isObject = (value: JsonValue | undefined): value is JsonObject => isPlainObject(value)
const isHidden = (block: JsonValue) => isPlainObject(block) && String(block.name).startsWith('bmcp_')
const isBlank = (block: JsonValue) => isPlainObject(block) && block.type === 'text' && !String(block.text).trim()

/** Returns the sum of the usage of rounds, by another way than the code's. */
function sumOf(rounds: readonly MeantRound[]): JsonObject {
  const sum: Record<string, number> = {}
  const add = (path: string, value: unknown) => {
    if (typeof value === 'number') sum[path] = (sum[path] ?? 0) + value
    else if (isPlainObject(value)) for (const [key, inner] of Object.entries(value)) add(`${path}.${key}`, inner)
    else if (Array.isArray(value)) sum[path] = (sum[path] ?? 0) + value.length
  }
  for (const { usage } of rounds) add('', usage)
  return sum
}
const flatSum = (usage: JsonValue | undefined) =>
  sumOf([{ blocks: [], stopReason: '', usage: isPlainObject(usage) ? usage : {} }])

/** What the official SDK makes of a stream. */
async function throughSdk(text: string): Promise<Anthropic.Message> {
  const headers = { 'content-type': 'text/event-stream' }
  const client = new Anthropic({ apiKey: 'a', maxRetries: 0, fetch: async () => new Response(text, { headers }) })
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'a' }]
  return client.messages.stream({ model: 'm', max_tokens: 1, messages }).finalMessage()
}

/** Types and indexes of the events that the client gets. */
function eventsIn(text: string): { type: string; index: number | undefined; json: JsonObject }[] {
  return text.split('\n\n').flatMap(event => {
    const data = /^data: (.*)$/m.exec(event)?.[1]
    if (data === undefined) return []
    const json: JsonObject = JSON.parse(data)
    return [{ type: String(json.type), index: typeof json.index === 'number' ? json.index : undefined, json }]
  })
}

test('a streamed turn of any rounds is one message to the official SDK', async () => {
  await fc.assert(
    fc.asyncProperty(turns, cuts, async (rounds, cut) => {
      const { blocks, texts, responses } = respondWith(rounds, 'a', true)
      const played = playTurn({ request: streamed, responses, cut })
      const events = eventsIn(played.text)
      const types = events.map(({ type }) => type)
      expect(types.filter(type => type === 'message_start')).toHaveLength(1)
      expect(types.filter(type => type === 'message_delta')).toHaveLength(1)
      expect(types.indexOf('message_stop')).toBe(types.length - 1)
      expect(types.filter(type => type === 'ping')).toHaveLength(rounds.length)
      expect(played.lasts).toBe(1)
      if (!blocks.flat().some(isHidden)) expect(played.text).toBe(texts[0])
      const visible = blocks.flat().filter(block => !isHidden(block))
      const starts = events.filter(({ type }) => type === 'content_block_start').map(({ index }) => index)
      expect(starts).toEqual([...visible.keys()])
      const message = await throughSdk(played.text)
      expect(JSON.parse(JSON.stringify(message.content))).toEqual(visible)
      expect([message.id, message.stop_reason]).toEqual(['msg_a_0', rounds.at(-1)?.stopReason])
      const usage = events.find(({ type }) => type === 'message_delta')?.json.usage
      if (rounds.length > 1) expect(flatSum(usage)).toEqual(sumOf(rounds))
      expect(message.usage.output_tokens).toBe(sumOf(rounds)['.output_tokens'])
      expect(message.usage.input_tokens).toBe(sumOf(rounds)['.input_tokens'])
    }),
    { numRuns: 25 },
  )
})

test('a turn of any rounds without streams is one body', () => {
  fc.assert(
    fc.property(turns, cuts, (rounds, cut) => {
      const { blocks, texts, responses } = respondWith(rounds, 'a', false)
      const played = playTurn({ request, responses, cut })
      const message: JsonObject = JSON.parse(played.text)
      expect(played.lasts).toBe(1)
      expect(message).toMatchObject({ id: 'msg_a_0', role: 'assistant', stop_reason: rounds.at(-1)?.stopReason })
      expect(message.content).toEqual(blocks.flat().filter(block => !isHidden(block)))
      expect(flatSum(message.usage)).toEqual(sumOf(rounds))
      if (!blocks.flat().some(isHidden)) expect(played.text).toBe(texts[0])
    }),
    { numRuns: 40 },
  )
})

test('in every round the provider gets the history and the rounds before, and nothing else', () => {
  fc.assert(
    fc.property(turns, fc.boolean(), (rounds, isStream) => {
      const { blocks, responses } = respondWith(rounds, 'a', isStream)
      const { json: bodies, ends } = playTurn({ request: { ...request, stream: isStream }, responses })
      const [first = {}] = bodies
      const history: JsonValue[] = Array.isArray(first.messages) ? [...first.messages] : []
      expect(bodies).toHaveLength(rounds.length)
      for (const [at, body] of bodies.entries()) {
        expect(body).toEqual({ ...first, messages: history })
        expect(thinkingError(body)).toBeUndefined()
        history.push({ role: 'assistant', content: (blocks[at] ?? []).filter(block => !isBlank(block)) })
        history.push({ role: 'user', content: (ends[at]?.calls ?? []).map(resultBlock) })
      }
    }),
    { numRuns: 40 },
  )
})

/** Ways in which a client sends its history. */
const habits = fc.record({
  movesCacheMark: fc.boolean(),
  stripsThinking: fc.boolean(),
  trims: fc.boolean(),
  writesStrings: fc.boolean(),
})
type Habits = typeof habits extends fc.Arbitrary<infer T> ? T : never

function asClient(messages: readonly JsonObject[], habit: Habits): JsonValue[] {
  const sent = messages.map(({ role = null, content }): JsonObject => {
    let blocks = Array.isArray(content) ? content.filter(isObject) : []
    if (role === 'assistant' && habit.stripsThinking)
      blocks = blocks.filter(({ type }) => !String(type).includes('thinking'))
    if (habit.trims)
      blocks = blocks.map(block => (block.type === 'text' ? { ...block, text: String(block.text).trim() } : block))
    const [only, ...others] = blocks
    if (habit.writesStrings && only?.type === 'text' && others.length === 0) return { role, content: only.text ?? '' }
    return { role, content: blocks }
  })
  const last = sent.at(-1)?.content
  const block = Array.isArray(last) ? last.at(-1) : undefined
  if (habit.movesCacheMark && isObject(block)) block.cache_control = { type: 'ephemeral' }
  return sent
}

test('in later turns the provider gets what it saw before, whatever the client does to its history', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(turns, habits, fc.boolean()), { minLength: 1, maxLength: 4 }), conversation => {
      /** as the client has it, and as the provider has seen it */
      const own: JsonObject[] = []
      const seen: JsonObject[] = []
      const stored = []
      let user: JsonObject[] = [{ type: 'text', text: 'list my pages' }]
      let left: JsonObject[] = []
      for (const [turn, [rounds, habit, isStream]] of conversation.entries()) {
        own.push({ role: 'user', content: user })
        seen.push({ role: 'user', content: [...left, ...user] })
        const messages = asClient(own, habit)
        const { blocks, responses } = respondWith(rounds, `t${turn}`, isStream)
        const played = playTurn({ request: { ...request, messages, stream: isStream }, turns: stored, responses })
        for (const body of played.json) expect(thinkingError(body)).toBeUndefined()
        const [first = {}] = played.json
        expect(boundHistory(first)).toEqual(boundHistory({ messages: seen }))
        if (played.turn) stored.push(played.turn)
        const view = blocks.flat().filter(block => !isHidden(block) && !isBlank(block))
        // A client that is left without content has no message to send.
        if (view.every(block => String(block.type).includes('thinking'))) return
        const { messages: sent } = played.json.at(-1) ?? {}
        const last = blocks.at(-1) ?? []
        const isRun = rounds.at(-1)?.stopReason === 'tool_use'
        seen.splice(0, seen.length, ...(Array.isArray(sent) ? sent.filter(isObject) : []))
        seen.push({ role: 'assistant', content: last.filter(block => !isBlank(block) && (isRun || !isHidden(block))) })
        own.push({ role: 'assistant', content: view })
        const [end] = played.ends.slice(-1)
        left = (end?.calls ?? []).map(resultBlock)
        const calls = last.filter(({ type, name }) => type === 'tool_use' && name === 'Read')
        user = calls.map(({ id = null }) => ({ type: 'tool_result', tool_use_id: id, content: 'read' }))
        if (user.length === 0) user = [{ type: 'text', text: 'go on' }]
      }
    }),
    { numRuns: 40 },
  )
})

test('ten turns of signed thinking are accepted, and rejected without their hidden calls', () => {
  const usage = { input_tokens: 1, output_tokens: 1 }
  const rounds: MeantRound[] = [
    {
      blocks: [
        { is: 'thinking', text: 'a' },
        { is: 'text', text: 'Let me look.' },
        { is: 'call', name: 'bmcp_wiki_find', input: { a: 1 } },
      ],
      stopReason: 'tool_use',
      usage,
    },
    {
      blocks: [
        { is: 'thinking', text: 'b' },
        { is: 'text', text: 'Done.' },
      ],
      stopReason: 'end_turn',
      usage,
    },
  ]
  const errorsOf = (keepsPairs: boolean) => {
    const messages: JsonValue[] = []
    const turns: HiddenTurn[] = []
    return Array.from({ length: 10 }, (_, turn) => {
      messages.push({ role: 'user', content: 'go on' })
      const { blocks, responses } = respondWith(rounds, `t${turn}`, true)
      const played = playTurn({ request: { ...streamed, messages: [...messages] }, turns, responses })
      // As a store gives it back.
      if (played.turn && keepsPairs) turns.push(JSON.parse(JSON.stringify(played.turn)))
      messages.push({ role: 'assistant', content: blocks.flat().filter(block => !isHidden(block)) })
      return played.json.map(thinkingError)
    })
  }
  expect(errorsOf(true)).toEqual(Array.from({ length: 10 }, () => [undefined, undefined]))
  const [first, ...later] = errorsOf(false)
  expect(first).toEqual([undefined, undefined])
  for (const errors of later)
    expect(errors).toEqual(Array.from({ length: 2 }, () => expect.stringContaining('Invalid')))
})

test('bytes of any kind throw nothing', () => {
  const event = fc
    .tuple(
      fc.constantFrom(
        'message_start',
        'content_block_start',
        'content_block_delta',
        'message_delta',
        'message_stop',
        '',
      ),
      fc.dictionary(
        fc.constantFrom('message', 'index', 'content_block', 'delta', 'usage', 'error'),
        fc.oneof(
          fc.jsonValue({ maxDepth: 2 }),
          fc.record({ type: fc.constant('tool_use'), name: fc.constant('bmcp_x'), input: fc.jsonValue() }),
          fc.record({ stop_reason: fc.constant('tool_use'), usage: fc.jsonValue(), signature: fc.jsonValue() }),
        ),
      ),
    )
    .map(([type, rest]) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`)
  const bodies = fc.record({ type: fc.constant('message'), content: fc.jsonValue(), usage: fc.jsonValue() })
  const stream = fc.array(fc.oneof(event, fc.string())).map(parts => parts.join(''))
  const responses = fc.array(
    fc.oneof(
      stream,
      fc.string(),
      bodies.map(body => JSON.stringify(body)),
    ),
    { maxLength: 3 },
  )
  const histories = fc.array(
    fc.oneof(fc.jsonValue(), fc.record({ role: fc.constant('assistant'), content: fc.jsonValue() })),
  )
  fc.assert(
    fc.property(responses, histories, cuts, (texts, messages, cut) => {
      const played = playTurn({ request: JSON.parse(JSON.stringify({ ...streamed, messages })), responses: texts, cut })
      expect(played.lasts).toBeLessThanOrEqual(1)
    }),
    { numRuns: 50 },
  )
})
