/** The official SDKs beyond one exchange: helpers, tools, structured output, aborts, timeouts, errors. */
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createGate, eventStream, json, stall } from '../../fixtures/provider.js'
import { apiRows } from './apis.js'
import { bridged } from './bridged.js'
import { controlPlanes } from './control-planes.js'

const responseOf = (api: string, mode: 'streaming' | 'non-streaming') => {
  const one = apiRows
    .find(({ name }) => name === api)
    ?.conversations.find(({ fixture, mode: its }) => fixture === 'short' && its === mode)
  return one?.response ?? ''
}
const chat = 'OpenAI Chat Completions'
const responses = 'OpenAI Responses'
const messages = 'Anthropic Messages'
const hello = [{ role: 'user', content: 'hello' }] satisfies OpenAI.Chat.ChatCompletionMessageParam[]

describe.each(controlPlanes())('with $name', ({ start }) => {
  const the = bridged(start)

  describe('the OpenAI SDK', () => {
    test('the OpenAI SDK gets the first token of a chat before the provider has sent the last', async () => {
      const gate = createGate()
      the.provider.respondWith(eventStream(responseOf(chat, 'streaming'), { 2: gate }))
      const stream = the.bridge.openai.chat.completions.stream({ model: 'm', messages: hello })
      const words: string[] = []
      stream.on('content', word => {
        words.push(word)
        if (words.length === 1) gate.open()
      })
      expect(await stream.finalContent()).toBe('Hello there')
      expect(words).toEqual(['Hello', ' there'])
      // The client did not ask for usage.
      expect(await stream.totalUsage()).toMatchObject({ total_tokens: 0 })
      expect((await the.recordedOf(1))[0]?.tokens).toMatchObject([{ inputTokens: 5, outputTokens: 3 }])
    })

    test('the OpenAI SDK gets the usage that it asks for', async () => {
      the.provider.respondWith(eventStream(responseOf(chat, 'streaming')))
      const request = { model: 'm', messages: hello, stream: true, stream_options: { include_usage: true } } as const
      const usages: unknown[] = []
      for await (const { usage } of await the.bridge.openai.chat.completions.create(request)) usages.push(usage)
      expect(usages.at(-1)).toMatchObject({ total_tokens: 8 })
      expect(JSON.parse(the.provider.calls[0]?.body.toString() ?? '')).toEqual(request)
    })

    test('the OpenAI SDK streams a response', async () => {
      the.provider.respondWith(eventStream(responseOf(responses, 'streaming')))
      const stream = the.bridge.openai.responses.stream({ model: 'm', input: 'hello' })
      expect((await stream.finalResponse()).output).toMatchObject([{ content: [{ text: 'Hello there' }] }])
      expect((await the.recordedOf(1))[0]?.tokens).toMatchObject([{ inputTokens: 5, outputTokens: 3 }])
    })

    test('a request with a tool result is recorded as the child of the request with the call', async () => {
      const call = { id: 'call_run', type: 'function', function: { name: 'add', arguments: '{"a":3,"b":5}' } }
      const selected = { role: 'assistant', content: null, tool_calls: [call] }
      the.provider.respondWith(
        json({ id: 'c1', choices: [{ index: 0, message: selected, finish_reason: 'tool_calls' }] }),
        json(responseOf(chat, 'non-streaming')),
      )
      const runner = the.bridge.openai.chat.completions.runTools({
        model: 'm',
        messages: hello,
        tools: [
          {
            type: 'function',
            function: {
              name: 'add',
              description: 'adds',
              parameters: { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } } },
              parse: JSON.parse,
              function: ({ a, b }: { a: number; b: number }) => String(a + b),
            },
          },
        ],
      })
      expect(await runner.finalContent()).toBe('Hello there')
      expect(JSON.parse(the.provider.calls[1]?.body.toString() ?? '').messages.at(-1)).toEqual({
        role: 'tool',
        tool_call_id: 'call_run',
        content: '8',
      })
      const [first, second] = await the.recordedOf(2)
      expect(first?.tools).toMatchObject([{ tool: 'add', toolCallId: 'call_run', input: '{"a":3,"b":5}' }])
      expect(first?.prompts).toMatchObject([{ prompt: 'hello' }])
      expect(second?.prompts).toEqual([])
      expect(second?.interception).toMatchObject({ correlatingToolCallId: 'call_run' })
    })

    test('the OpenAI SDK parses structured output of both APIs', async () => {
      const schema = z.object({ answer: z.number() })
      const text = '{"answer":42}'
      const message = { role: 'assistant', content: text, refusal: null }
      const content = [{ type: 'output_text', text, annotations: [] }]
      the.provider.respondWith(
        json({ id: 'c', choices: [{ index: 0, message, finish_reason: 'stop' }] }),
        json({ id: 'r', object: 'response', output: [{ id: 'm', type: 'message', role: 'assistant', content }] }),
      )
      const completion = await the.bridge.openai.chat.completions.parse({
        model: 'm',
        messages: hello,
        response_format: zodResponseFormat(schema, 'answer'),
      })
      expect(completion.choices[0]?.message.parsed).toEqual({ answer: 42 })
      const format = zodTextFormat(schema, 'answer')
      const response = await the.bridge.openai.responses.parse({ model: 'm', input: 'hello', text: { format } })
      expect(response.output_parsed).toEqual({ answer: 42 })
      await the.recordedOf(2)
    })

    test.each(['chat', 'responses'] as const)(
      'an aborted stream (%s) of the OpenAI SDK ends the call to the provider',
      async kind => {
        const api = kind === 'chat' ? chat : responses
        the.provider.respondWith(eventStream(responseOf(api, 'streaming'), { 2: createGate() }))
        const abort = new AbortController()
        const { signal } = abort
        const read = async () => {
          const stream =
            kind === 'chat'
              ? await the.bridge.openai.chat.completions.create(
                  { model: 'm', messages: hello, stream: true },
                  { signal },
                )
              : await the.bridge.openai.responses.create({ model: 'm', input: 'hello', stream: true }, { signal })
          for await (const _ of stream) abort.abort()
        }
        // The SDK ends an aborted iteration without an error.
        await read()
        await (await the.provider.call(0)).closed
        const [record] = await the.recordedOf(1)
        expect(record?.end).toMatchObject({ errorType: 'client_closed', errorMessage: 'the client disconnected' })
      },
    )

    test('a timeout of the OpenAI SDK ends the call to the provider', async () => {
      the.provider.respondWith(stall)
      const create = the.bridge.openai.responses.create({ model: 'm', input: 'hello' }, { timeout: 300 })
      await expect(create).rejects.toBeInstanceOf(OpenAI.APIConnectionTimeoutError)
      await (await the.provider.call(0)).closed
      expect((await the.recordedOf(1))[0]?.end).toMatchObject({ errorMessage: 'the client disconnected' })
    })

    test.each([
      [400, OpenAI.BadRequestError, 'bad_request'],
      [401, OpenAI.AuthenticationError, 'unauthorized'],
      [429, OpenAI.RateLimitError, 'rate_limited'],
      [500, OpenAI.InternalServerError, 'server_error'],
    ])("the OpenAI SDK throws the provider's error of status %i, with its code", async (status, kind, errorType) => {
      the.provider.respondWith(json({ error: { message: 'no', type: 'x', param: 'p', code: 'c' } }, status))
      const error: unknown = await the.bridge.openai.responses
        .create({ model: 'm', input: 'hello' })
        .catch(reason => reason)
      expect(error).toBeInstanceOf(kind)
      expect(error).toMatchObject({ status, code: 'c', param: 'p', type: 'x' })
      expect((await the.recordedOf(1))[0]?.end).toMatchObject({ errorType, errorMessage: 'no' })
    })

    test("the OpenAI SDK throws the bridge's own errors in the API's shape", async () => {
      const { openai } = the.bridge
      const denied = openai.withOptions({ apiKey: `${'x'.repeat(10)}-${'y'.repeat(22)}` })
      await expect(denied.models.list()).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' })
      await expect(openai.files.list()).rejects.toMatchObject({
        status: 404,
        type: 'invalid_request_error',
        message: expect.stringContaining('404 route not supported: GET /bridge/openai/v1/files'),
      })
      expect(await the.plane.recorded()).toEqual([])
    })

    test('routes that are not bridged pass with the key of the provider and leave no record', async () => {
      const { openai } = the.bridge
      const ok = json({ id: 'x', object: 'list', data: [{ id: 'gpt-test-1', object: 'model' }] })
      the.provider.respondWith(ok, ok, ok, ok, ok, ok)
      expect((await openai.models.list()).data).toMatchObject([{ id: 'gpt-test-1' }])
      await openai.models.retrieve('gpt-test-1')
      await openai.conversations.create({})
      await openai.conversations.items.list('conv_1')
      await openai.responses.retrieve('resp_1', { include: ['reasoning.encrypted_content'] })
      await openai.responses.cancel('resp_1')
      expect(the.provider.calls.map(({ method, url }) => `${method} ${decodeURIComponent(url)}`)).toEqual([
        'GET /v1/models',
        'GET /v1/models/gpt-test-1',
        'POST /v1/conversations',
        'GET /v1/conversations/conv_1/items',
        'GET /v1/responses/resp_1?include[]=reasoning.encrypted_content',
        'POST /v1/responses/resp_1/cancel',
      ])
      for (const { headers } of the.provider.calls)
        expect(headers.authorization).toBe('Bearer sk-proj-provider-key-0123456789')
      expect(await the.plane.recorded()).toEqual([])
    })
  })

  describe('the Anthropic SDK', () => {
    const ask = {
      model: 'm',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'hello' }],
    } satisfies Anthropic.MessageCreateParams

    test("the request with a tool's result is recorded as the child of the request with the call", async () => {
      const call = { type: 'tool_use', id: 'toolu_run', name: 'add', input: { a: 3 } } as const
      the.provider.respondWith(
        json({ id: 'm1', type: 'message', role: 'assistant', content: [call], stop_reason: 'tool_use' }),
        json(responseOf(messages, 'non-streaming')),
      )
      const first = await the.bridge.sdk.messages.create(ask)
      const result = { type: 'tool_result', tool_use_id: 'toolu_run', content: '8' } as const
      await the.bridge.sdk.messages.create({
        ...ask,
        messages: [...ask.messages, { role: 'assistant', content: first.content }, { role: 'user', content: [result] }],
      })
      const [parent, child] = await the.recordedOf(2)
      expect(parent?.tools).toMatchObject([{ tool: 'add', toolCallId: 'toolu_run', input: '{"a":3}' }])
      expect(child?.interception).toMatchObject({ correlatingToolCallId: 'toolu_run' })
      expect(child?.prompts).toEqual([])
    })

    test('a timeout of the Anthropic SDK ends the call to the provider', async () => {
      the.provider.respondWith(stall)
      const create = the.bridge.sdk.messages.create(ask, { timeout: 300 })
      await expect(create).rejects.toBeInstanceOf(Anthropic.APIConnectionTimeoutError)
      await (await the.provider.call(0)).closed
      expect((await the.recordedOf(1))[0]?.end).toMatchObject({ errorMessage: 'the client disconnected' })
    })

    test.each([
      [400, Anthropic.BadRequestError, 'bad_request'],
      [429, Anthropic.RateLimitError, 'rate_limited'],
      [529, Anthropic.InternalServerError, 'overloaded'],
    ])("the Anthropic SDK throws the provider's error of status %i", async (status, kind, errorType) => {
      the.provider.respondWith(json({ type: 'error', error: { type: 'x', message: 'no' } }, status))
      await expect(the.bridge.sdk.messages.create(ask)).rejects.toBeInstanceOf(kind)
      expect((await the.recordedOf(1))[0]?.end).toMatchObject({ errorType, errorMessage: 'no' })
    })
  })
})
