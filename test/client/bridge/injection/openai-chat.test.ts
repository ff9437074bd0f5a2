import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { openaiChatInjection as api } from '../../../../client/bridge/injection/openai-chat.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { fc } from '../../../fixtures/random.js'
import { type ChatRoundSpec, chatBody, chatRounds, chatStream, spellings } from './chat-rounds.js'
import { cuts, dataOf, injected, type Played, play, resultOf } from './play.js'

/** Each run plays up to four rounds. */
const runs = { numRuns: 25 }
const tools = ['bmcp_wiki_read', 'bmcp_wiki_write'].map(injected)
const isHidden = (name: string) => name.startsWith('bmcp_')
const clientTools = ['shell', 'edit'].map(name => ({
  type: 'function',
  function: { name, parameters: { type: 'object' } },
}))
const request: JsonObject = {
  model: 'm',
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Find it.' },
  ],
  tools: clientTools,
}
const streamed: JsonObject = { ...request, stream: true, stream_options: { include_usage: true } }

const sum = (rounds: readonly ChatRoundSpec[], of: 0 | 1 | 2) =>
  rounds.reduce((total, { usage }) => total + usage[of], 0)
const textOf = (rounds: readonly ChatRoundSpec[]) => rounds.map(({ text }) => text.join('')).join('')
const shownCalls = (rounds: readonly ChatRoundSpec[]) =>
  rounds.flatMap(({ calls }) => calls.filter(({ name }) => !isHidden(name)))

/** Returns the messages that a round adds to the history: the provider’s own, and the results of hidden calls. */
function ownMessages({ text, reasoning, calls }: ChatRoundSpec): JsonObject[] {
  const [content, thought] = [text.join(''), reasoning.join('')]
  const message: JsonObject = {
    role: 'assistant',
    content: content === '' ? null : content,
    ...(thought !== '' && { reasoning_content: thought }),
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ id, name, input }) => ({ id, type: 'function', function: { name, arguments: input } })),
    }),
  }
  const results = calls
    .filter(({ name }) => isHidden(name))
    .map(({ id, name, input }): JsonObject => {
      const { parts } = resultOf({ callId: id, tool: undefined, name, input, arguments: {} })
      return { role: 'tool', tool_call_id: id, content: parts[0]?.type === 'text' ? parts[0].text : '' }
    })
  return [message, ...results]
}

const messagesOf = (body: string | undefined): JsonObject[] => JSON.parse(body ?? '{}').messages

/** Reads a stream with the official SDK's accumulator. */
async function accumulated(text: string): Promise<OpenAI.ChatCompletion> {
  const client = new OpenAI({
    apiKey: 'k',
    maxRetries: 0,
    fetch: async () => new Response(text, { headers: { 'content-type': 'text/event-stream' } }),
  })
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'x' }]
  return client.chat.completions.stream({ model: 'm', messages }).finalChatCompletion()
}

describe('any rounds, labels and cuts become one response', () => {
  test('a stream has one id, one role, one end, contiguous calls and the sum of the usage', async () => {
    await fc.assert(
      fc.asyncProperty(chatRounds, fc.constantFrom(...spellings), cuts, async (rounds, spelling, cut) => {
        const responses = rounds.map((round, number) => chatStream(round, number, spelling))
        const { text, lasts } = play({ api, request: streamed, tools, responses, cut })
        const chunks = dataOf(text)
        expect(chunks.filter(data => data === '[DONE]')).toHaveLength(1)
        expect(chunks.at(-1)).toBe('[DONE]')
        expect(lasts).toBe(1)
        const jsons = chunks.slice(0, -1).map(data => JSON.parse(data))
        expect(new Set(jsons.map(json => `${json.id} ${json.created}`))).toEqual(new Set(['chatcmpl-0 0']))
        expect(jsons.filter(json => json.choices[0]?.finish_reason)).toHaveLength(1)
        expect(jsons.filter(json => json.usage)).toHaveLength(1)
        expect(jsons.filter(json => json.choices[0]?.delta.role)).toHaveLength(1)
        expect(text).not.toContain('bmcp_')
        const calls = shownCalls(rounds)
        // Labels that the provider left out stay left out unless something was hidden beside them.
        if ((spelling === 'no index' || spelling === 'no ids') && calls.length > 0) return
        const { choices, usage } = await accumulated(text)
        expect(choices[0]?.message.content ?? '').toBe(textOf(rounds))
        expect(choices[0]?.finish_reason).toBe(rounds.at(-1)?.finish)
        expect(choices[0]?.message.tool_calls ?? []).toEqual(
          calls.map(({ id, name, input }) => ({ id, type: 'function', function: { name, arguments: input } })),
        )
        expect(usage).toEqual({
          prompt_tokens: sum(rounds, 0),
          completion_tokens: sum(rounds, 2),
          total_tokens: sum(rounds, 0) + sum(rounds, 2),
          prompt_tokens_details: { cached_tokens: sum(rounds, 1) },
        })
      }),
      runs,
    )
  })

  test('a body has the texts of all rounds, the visible calls and the sum of the usage', () => {
    fc.assert(
      fc.property(chatRounds, cuts, (rounds, cut) => {
        const { text, lasts } = play({ api, request, tools, responses: rounds.map(chatBody), cut })
        expect(lasts).toBe(1)
        const { id, choices, usage } = JSON.parse(text)
        expect(id).toBe('chatcmpl-0')
        expect(choices).toHaveLength(1)
        expect(choices[0].message.content ?? '').toBe(textOf(rounds))
        expect(choices[0].finish_reason).toBe(rounds.at(-1)?.finish)
        expect((choices[0].message.tool_calls ?? []).map(({ id }: { id: string }) => id)).toEqual(
          shownCalls(rounds).map(({ id }) => id),
        )
        expect(usage).toMatchObject({ prompt_tokens: sum(rounds, 0), completion_tokens: sum(rounds, 2) })
      }),
      runs,
    )
  })
})

test('the body of a round is the history and the rounds before, and equal requests have equal bodies', () => {
  fc.assert(
    fc.property(
      chatRounds,
      fc.constantFrom('openai', 'whole calls', 'one chunk', 'no index', 'late name'),
      fc.boolean(),
      (rounds, spelling, isStream) => {
        const responses = rounds.map((round, number) =>
          isStream ? chatStream(round, number, spelling) : chatBody(round, number),
        )
        const own = { api, request: isStream ? streamed : request, tools, responses }
        const { bodies } = play(own)
        expect(bodies).toHaveLength(rounds.length)
        for (const [number, body] of bodies.entries()) {
          expect(messagesOf(body)).toEqual([
            ...(request.messages as JsonObject[]),
            ...rounds.slice(0, number).flatMap(ownMessages),
          ])
          const { messages, ...rest } = JSON.parse(body)
          expect(rest).toEqual({
            ...own.request,
            messages: undefined,
            parallel_tool_calls: false,
            tools: [
              ...clientTools,
              ...tools.map(({ fullName, description, inputSchema }) => ({
                type: 'function',
                function: { name: fullName, description, parameters: inputSchema },
              })),
            ],
          })
        }
        expect(play(own).bodies).toEqual(bodies)
      },
    ),
  )
})

/** Returns the message that a client sends back for a response. */
function echoOf({ text }: Played, keepsReasoning: boolean): JsonObject {
  const { message } = JSON.parse(text).choices[0]
  const { reasoning_content: thought, refusal, ...echo } = message
  return keepsReasoning && thought !== undefined ? { ...echo, reasoning_content: thought } : echo
}

test('the next turn has the messages that the provider has seen, whether the client trims or drops reasoning', () => {
  fc.assert(
    fc.property(chatRounds, fc.boolean(), fc.boolean(), (rounds, keepsReasoning, trims) => {
      const first = play({ api, request, tools, responses: rounds.map(chatBody) })
      const hasHidden = rounds.some(({ calls }) => calls.some(({ name }) => isHidden(name)))
      const calls = shownCalls(rounds)
      // Nothing that the client has seen leads back to a turn without text and calls.
      if (textOf(rounds).trim() === '' && calls.length === 0) return
      expect(first.turn !== undefined).toBe(hasHidden)
      const echo = echoOf(first, keepsReasoning)
      if (trims && typeof echo.content === 'string') echo.content = echo.content.trim()
      const after: JsonObject[] = [
        ...calls.map(({ id }): JsonObject => ({ role: 'tool', tool_call_id: id, content: 'ok' })),
        { role: 'user', content: 'Go on.' },
      ]
      const history = [...(request.messages as JsonObject[]), echo, ...after]
      // A database keeps the values of JSON, not the order of members.
      const turns = first.turn ? [JSON.parse(JSON.stringify(first.turn))] : []
      const next = play({ api, request: { ...request, messages: history }, tools, turns, responses: [] })
      const body = next.injected.body()
      const seen = messagesOf(Buffer.concat(body).toString())
      const expected = [
        ...(request.messages as JsonObject[]),
        ...rounds.flatMap(ownMessages).map(message => {
          const { reasoning_content: thought, ...rest } = message
          return keepsReasoning ? message : rest
        }),
        ...after,
      ]
      const bare = (messages: JsonObject[]) =>
        messages.map(message => ({
          ...message,
          content: String(message.content ?? '').trim(),
          reasoning_content: String(message.reasoning_content ?? '').trim(),
        }))
      expect(bare(seen)).toEqual(bare(expected))
      // All but the last message of the turn, which only the client's text makes, is exactly the same.
      if (hasHidden && !trims) {
        const known = messagesOf(first.bodies.at(-1))
        if (keepsReasoning) expect(seen.slice(0, known.length)).toEqual(known)
      }
    }),
    runs,
  )
})
