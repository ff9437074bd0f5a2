/** The one way out for parts: no internal field passes, whatever a part has, in lists, in the queue and in streams. */
import { expect, test } from 'vitest'
import { Episodes } from '../../../../server/services/chats/episodes.js'
import type { StoredPart } from '../../../../server/services/chats/model.js'
import { publicParts } from '../../../../server/services/chats/public-parts.js'
import { shownMessage, shownQueued } from '../../../../server/services/chats/shown-chat.js'
import { storedParts } from '../../../../server/services/chats/stored-parts.js'
import { fc } from '../../../fixtures/random.js'

const text = fc.string()
const part = fc.oneof(
  fc.record({ type: fc.constant('text'), text }),
  fc.record({ type: fc.constant('reasoning'), text }),
  fc.record({ type: fc.constant('tool-call'), toolCallId: text, toolName: text, input: text }),
  fc.record({
    type: fc.constant('tool-result'),
    toolCallId: text,
    toolName: text,
    output: text,
    isError: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('file-reference'),
    name: text,
    startLine: fc.nat(),
    endLine: fc.nat(),
    content: text,
  }),
  fc.record({ type: fc.constant('source'), url: text, title: text }),
)
const secret = 'signature-of-the-provider'
const internal = fc.dictionary(
  fc.constantFrom('internal', 'signature', 'providerMetadata', 'encrypted'),
  fc.constant(secret),
)

type Exit = (parts: readonly StoredPart[]) => unknown[] | Promise<unknown[]>

/** Passes parts on while they stream, and returns those that a follower gets. */
async function live(parts: readonly StoredPart[]): Promise<unknown[]> {
  const episodes = new Episodes()
  const episode = { chatId: 'chat', historyVersion: 1, attempt: 1 }
  const writer = episodes.begin(episode)
  for (const part of parts)
    writer.add(Object.assign({ role: 'assistant', index: 0, part } as const, { internal: secret }))
  writer.end()
  const shown: unknown[] = []
  for await (const event of episodes.follow(episode, 0, new AbortController().signal)) {
    if (event.kind !== 'part') continue
    const { role, index, part, ...more } = event.part
    expect([role, index, more]).toEqual(['assistant', 0, {}])
    shown.push(part)
  }
  episodes.close()
  return shown
}

const row = { id: 'm', createdAt: new Date(0) }
const message = {
  ...row,
  seq: 1,
  role: 'assistant' as const,
  usage: null,
  interceptionId: null,
  finishReason: null,
  interrupted: false,
}

test.each<[string, Exit]>([
  ['by itself', publicParts],
  ['in a message', parts => shownMessage({ ...message, parts: storedParts(parts).parts }).parts],
  ['in the queue', parts => shownQueued({ ...row, parts: storedParts(parts).parts }).parts],
  ['live', live],
])('a part leaves the server %s with its own fields, and without any other', async (_, exit) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(part, internal)), async parts => {
      const stored = parts.map(([fields, more]) => ({ ...fields, ...more })) as StoredPart[] // with fields that it must drop
      const shown = await exit(stored)
      expect(JSON.stringify(shown)).not.toContain(secret)
      const visible = parts
        .map(([fields]) => fields)
        .filter(fields => fields.type !== 'reasoning' || Object(fields).text !== '')
      expect(shown).toEqual(visible)
    }),
  )
})
