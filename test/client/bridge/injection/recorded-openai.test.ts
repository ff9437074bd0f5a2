/** Recorded conversations with an injected tool, which lie beside the project. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openaiChatInjection } from '../../../../client/bridge/injection/openai-chat.js'
import { openaiResponsesInjection } from '../../../../client/bridge/injection/openai-responses.js'
import { OpenaiUsage } from '../../../../client/bridge/providers/responses/openai-usage.js'
import type { JsonObject } from '../../../../shared/values/text.js'
import { eventsOf } from '../../../fixtures/provider.js'
import { readTxtar, sectionOf } from '../../../fixtures/txtar.js'
import { conversationsBesideProject } from '../apis.js'
import { dataOf, injected, play } from './play.js'

const tools = ['coder_list_workspaces', 'coder_list_templates', 'coder_template_version_parameters'].map(name =>
  injected(`bmcp_coder_${name}`),
)

describe.skipIf(!existsSync(conversationsBesideProject))('recorded rounds become one response', () => {
  test.each([
    [
      'openai/chatcompletions',
      'streaming',
      'bmcp_coder_coder_list_workspaces',
      '{"owner":"admin"}',
      [5047, 105, 4864, 0],
    ],
    [
      'openai/chatcompletions',
      'non-streaming',
      'bmcp_coder_coder_list_workspaces',
      '{"owner":"admin"}',
      [5047, 105, 4864, 0],
    ],
    [
      'openai/responses/blocking',
      'non-streaming',
      'bmcp_coder_coder_template_version_parameters',
      '{"template_version_id":"aa4e30e4-a086-4df6-a364-1343f1458104"}',
      [839, 306, 12288, 0],
    ],
    ['openai/responses/streaming', 'streaming', 'bmcp_coder_coder_list_templates', '{}', [6588, 200, 6144, 0]],
  ] as const)('%s %s', (folder, mode, name, input, tokens) => {
    const txtar = readTxtar(join(conversationsBesideProject, folder, 'single_injected_tool.txtar'))
    const recorded: JsonObject = JSON.parse(sectionOf(txtar, 'request'))
    const isStream = mode === 'streaming'
    const request = { ...recorded, stream: isStream, ...(isStream && { stream_options: { include_usage: true } }) }
    const responses = [mode, `${mode}/tool-call`].map(section => sectionOf(txtar, section))
    const api = folder === 'openai/chatcompletions' ? openaiChatInjection : openaiResponsesInjection
    const cut = (bytes: Buffer) => (isStream ? eventsOf(bytes.toString()).map(event => Buffer.from(event)) : [bytes])
    const { text, ends, lasts } = play({ api, request, tools, responses, cut })
    expect(ends.map(({ calls }) => calls.map(call => [call.name, call.input]))).toEqual([[[name, input]], []])
    expect(lasts).toBe(1)
    const bodies: JsonObject[] = isStream
      ? dataOf(text).flatMap(data => (data === '[DONE]' ? [] : JSON.parse(data)))
      : [JSON.parse(text)]
    const usages = bodies.flatMap(body => body.usage ?? (body.response as JsonObject | undefined)?.usage ?? [])
    expect(usages).toHaveLength(1)
    const usage = new OpenaiUsage()
    usage.add(usages[0])
    const counts = usage.counts()
    expect([counts?.input, counts?.output, counts?.cacheRead, counts?.cacheWrite]).toEqual(tokens)
    const last = bodies.at(-1)
    const end = (last?.response ?? last) as JsonObject // the snapshot of a stream, or the body
    if (end.output) expect(JSON.stringify(end.output)).not.toContain('bmcp_')
  })
})
