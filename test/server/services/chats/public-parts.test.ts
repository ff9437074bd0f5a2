/** The one way out for parts: no internal field passes, whatever a stored part has. */
import { expect, test } from 'vitest'
import type { StoredPart } from '../../../../server/services/chats/model.js'
import { publicParts } from '../../../../server/services/chats/public-parts.js'
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

test('a part leaves the server with its own fields, and without any other', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(part, internal)), parts => {
      const stored = parts.map(([fields, more]) => ({ ...fields, ...more })) as StoredPart[] // with fields that it must drop
      const shown = publicParts(stored)
      expect(JSON.stringify(shown)).not.toContain(secret)
      const visible = parts
        .map(([fields]) => fields)
        .filter(fields => fields.type !== 'reasoning' || Object(fields).text !== '')
      expect(shown).toEqual(visible)
    }),
  )
})
