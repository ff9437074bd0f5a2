import { describe, expect, test } from 'vitest'
import { json, recorded } from '../../fixtures/provider.js'
import { apiRows } from './apis.js'
import { bridged } from './bridged.js'
import { controlPlanes, type Recorded } from './control-planes.js'
import { send } from './running-bridge.js'

describe.each(controlPlanes())('without content, with $name', ({ start }) => {
  const the = bridged(start, { recordContent: false })

  const recordedOnce = async () => (await the.recordedOf(1))[0] as Recorded // there is one

  describe.each(apiRows)('$name', api => {
    const everything = api.conversations.filter(({ fixture }) => fixture === 'everything')

    test.each(everything)('counts, names and sizes are recorded, content is not ($mode)', async one => {
      the.provider.respondWith(recorded(one.response))
      await api.exchange(the.bridge, one.request)
      const record = await recordedOnce()
      const bytes = (text: string) => Buffer.byteLength(text)
      const thoughts = Array.isArray(one.thoughts) ? one.thoughts : []
      expect(record.prompts).toMatchObject([
        { prompt: '', metadata: { original_bytes: { prompt: bytes(one.prompt) } } },
      ])
      expect(record.tokens).toMatchObject([{ inputTokens: one.tokens?.[0], outputTokens: one.tokens?.[1] }])
      expect(record.tools).toMatchObject(
        (one.tools ?? []).map(([tool, toolCallId, input]) => ({
          tool,
          toolCallId,
          input: '',
          metadata: { original_bytes: { input: bytes(input) } },
        })),
      )
      expect(record.thoughts).toMatchObject(
        thoughts.map(content => ({ content: '', metadata: { original_bytes: { content: bytes(content) } } })),
      )
      const stored = JSON.stringify([record, the.bridge.log])
      for (const words of [one.prompt, ...thoughts, ...(one.tools ?? []).map(([, , input]) => input)]) {
        if (words !== '{}') expect(stored).not.toContain(JSON.stringify(words).slice(1, -1))
      }
    })

    test("further fields of a provider's usage are recorded if they are numbers, and none is logged", async () => {
      const counts = { input_tokens: 1, output_tokens: 1, prompt_tokens: 1, completion_tokens: 1 }
      const usage = { ...counts, tier: 'MARKED', more: { reasoning: 3, words: ['MARKED'], text: 'MARKED' } }
      the.provider.respondWith(json({ id: 'x', usage }))
      const [one] = everything
      await send(the.bridge, { path: api.path, body: one?.request ?? '', headers: { 'x-api-key': the.plane.key } })
      const record = await recordedOnce()
      expect(record.tokens).toMatchObject([{ metadata: { more: { reasoning: 3 } } }])
      expect(JSON.stringify([record, the.bridge.log])).not.toContain('MARKED')
    })

    test('an error inside a stream is recorded by its type', async () => {
      const error = api.conversations.find(({ fixture }) => fixture === 'error-in-stream')
      the.provider.respondWith(recorded(error?.response ?? ''))
      await send(the.bridge, { path: api.path, body: error?.request ?? '', headers: { 'x-api-key': the.plane.key } })
      const { end } = await recordedOnce()
      expect(end).toMatchObject({ errorType: error?.error?.errorType })
      expect(Reflect.get(end, 'errorMessage') ?? null).toBeNull()
    })

    test('an error that quotes the request is recorded by its type', async () => {
      the.provider.respondWith(json({ error: { type: 'invalid_request_error', message: 'no such word: MARKED' } }, 404))
      const [one] = everything
      const response = await send(the.bridge, {
        path: api.path,
        body: one?.request ?? '',
        headers: { 'x-api-key': the.plane.key },
      })
      expect(response.body.toString()).toContain('MARKED')
      const record = await recordedOnce()
      expect(record.end).toMatchObject({ errorType: 'bad_request' })
      expect(Reflect.get(record.end, 'errorMessage') ?? null).toBeNull()
    })

    test('ids and kinds of a request are recorded, words in their places are not', async () => {
      the.provider.respondWith(json({ id: 'x' }))
      const [one] = everything
      const headers = {
        'x-api-key': the.plane.key,
        'x-claude-code-agent-id': 'a1',
        'x-claude-code-agent-type': 'MARKED words of a person',
        'x-claude-code-prev-tool-durations': 'Read=9;MARKED words=1',
        'x-codex-turn-metadata': JSON.stringify({ turn_id: 'MARKED words', more: 'MARKED' }),
      }
      await send(the.bridge, { path: api.path, body: one?.request ?? '', headers })
      const record = await recordedOnce()
      expect(record.interception).toMatchObject({
        metadata: { agent_id: 'a1', request_kind: 'subagent', tool_durations: [{ tool: 'Read', ms: 9 }] },
      })
      expect(record.prompts).toMatchObject([{ prompt: '', metadata: { request_kind: 'subagent' } }])
      expect(JSON.stringify([record, the.bridge.log])).not.toContain('MARKED')
    })

    test("the bridge's own message of an error is recorded", async () => {
      the.provider.respondWith(json('<html>', 502))
      const [one] = everything
      await send(the.bridge, { path: api.path, body: one?.request ?? '', headers: { 'x-api-key': the.plane.key } })
      const errorMessage = 'the provider responded with status 502'
      expect((await recordedOnce()).end).toMatchObject({ errorType: 'server_error', errorMessage })
    })
  })
})
