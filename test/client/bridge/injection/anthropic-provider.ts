/** A stand-in for the model behind Anthropic Messages: blocks as they are meant, written as a stream or as a body. */
import type { HiddenCall } from '../../../../client/bridge/injection/injection-api.js'
import type { ToolResult } from '../../../../client/bridge/mcp/injected-tool.js'
import type { JsonObject, JsonValue } from '../../../../shared/values/text.js'
import { fc } from '../../../fixtures/random.js'
import { redactedThinking, signedThinking } from '../../../fixtures/signed-thinking.js'
import { injected } from './play.js'

/** A block before the provider has given it ids and signatures. */
export type MeantBlock =
  | { is: 'text'; text: string }
  | { is: 'thinking'; text: string }
  | { is: 'redacted' }
  | { is: 'search' }
  | { is: 'unknown' }
  | { is: 'call'; name: string; input: JsonObject }

/** A response before it is written. */
export interface MeantRound {
  blocks: MeantBlock[]
  stopReason: string
  usage: JsonObject
}

export const wikiTools = [injected('bmcp_wiki_find'), injected('bmcp_wiki_read')]

/** A result that names its call, so that no two are equal. */
export const resultOf = ({ callId, tool, arguments: given }: HiddenCall): ToolResult => ({
  isError: tool === undefined,
  parts: [{ type: 'text', text: `result of ${callId} with ${JSON.stringify(given)}` }],
  durationMs: 1,
})

/** Returns the block of the user with that result. */
export const resultBlock = (call: HiddenCall): JsonObject => ({
  type: 'tool_result',
  tool_use_id: call.callId,
  content: resultOf(call).parts,
  ...(!call.tool && { is_error: true }),
})

/** Returns the responses of meant rounds to the bodies that a provider gets, and keeps their blocks and texts. */
export function respondWith(rounds: readonly MeantRound[], id: string, isStream: boolean) {
  const blocks: JsonObject[][] = []
  const texts: string[] = []
  const responses = rounds.map((round, at) => (body: JsonObject) => {
    const own = blocksOf(body, round, `${id}_${at}`)
    blocks.push(own)
    const text = isStream ? eventsOf(own, round, `${id}_${at}`).join('') : bodyOf(own, round, `${id}_${at}`)
    texts.push(text)
    return text
  })
  return { blocks, texts, responses }
}

/** Returns the blocks of a response to a request. Ids are unique among rounds of different numbers. */
export function blocksOf(request: JsonObject, { blocks }: MeantRound, round: string): JsonObject[] {
  const all: JsonObject[] = []
  for (const [at, block] of blocks.entries()) {
    const id = `${round}_${at}`
    if (block.is === 'text') all.push({ type: 'text', text: block.text })
    else if (block.is === 'thinking') all.push(signedThinking(request, all, block.text))
    else if (block.is === 'redacted') all.push(redactedThinking(request, all))
    else if (block.is === 'unknown') all.push({ type: 'hologram', beams: [1.5, { a: null }], note: 'x' })
    else if (block.is === 'call')
      all.push({ type: 'tool_use', id: `toolu_${id}`, name: block.name, input: block.input })
    else {
      all.push({ type: 'server_tool_use', id: `srvtoolu_${id}`, name: 'web_search', input: { query: 'a' } })
      const found = [{ type: 'web_search_result', url: 'http://a', title: 'A', encrypted_content: 'e' }]
      all.push({ type: 'web_search_tool_result', tool_use_id: `srvtoolu_${id}`, content: found })
    }
  }
  return all
}

/** Writes a response as a body. */
export function bodyOf(blocks: readonly JsonObject[], round: MeantRound, id: string): string {
  const head = { id: `msg_${id}`, type: 'message', role: 'assistant', model: 'claude-stand-in' }
  return JSON.stringify(
    { ...head, content: blocks, stop_reason: round.stopReason, stop_sequence: null, usage: round.usage },
    undefined,
    1,
  )
}

/** Returns the events of a response, each with its blank line. */
export function eventsOf(blocks: readonly JsonObject[], round: MeantRound, id: string): string[] {
  const { iterations = null, output_tokens = null, server_tool_use = null, ...atStart } = round.usage
  const head = { id: `msg_${id}`, type: 'message', role: 'assistant', model: 'claude-stand-in', content: [] }
  const usage = { ...atStart, output_tokens: 1, server_tool_use: { web_search_requests: 0 } }
  const atEnd = { output_tokens, server_tool_use, iterations, cache_read_input_tokens: null }
  return [
    event('message_start', { message: { ...head, stop_reason: null, stop_sequence: null, usage } }),
    event('ping', {}),
    ...blocks.flatMap((block, index) => blockEvents(block, index)),
    event('message_delta', { delta: { stop_reason: round.stopReason, stop_sequence: null }, usage: atEnd }),
    event('message_stop', {}),
  ]
}

function blockEvents(block: JsonObject, index: number): string[] {
  const { text, thinking, signature, input, type } = block
  const start: JsonObject = { ...block }
  const deltas: JsonObject[] = []
  if (type === 'text') {
    start.text = ''
    deltas.push(...halves(text).map(part => ({ type: 'text_delta', text: part })))
  } else if (type === 'thinking') {
    start.thinking = ''
    start.signature = ''
    deltas.push(...halves(thinking).map(part => ({ type: 'thinking_delta', thinking: part })))
    deltas.push({ type: 'signature_delta', signature: signature ?? '' })
  } else if (input !== undefined) {
    start.input = {}
    const json = JSON.stringify(input)
    const parts = json === '{}' ? [''] : ['', ...halves(json)]
    deltas.push(...parts.map(part => ({ type: 'input_json_delta', partial_json: part })))
  }
  return [
    event('content_block_start', { index, content_block: start }),
    ...deltas.map(delta => event('content_block_delta', { index, delta })),
    event('content_block_stop', { index }),
  ]
}

function halves(text: JsonValue | undefined): string[] {
  const characters = typeof text === 'string' ? [...text] : []
  const middle = Math.floor(characters.length / 2)
  return [characters.slice(0, middle).join(''), characters.slice(middle).join('')]
}

function event(type: string, rest: JsonObject): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}   \n\n`
}

const counts = fc.nat(10_000)

/** Usage with fields of all kinds. */
export const usages: fc.Arbitrary<JsonObject> = fc.record({
  input_tokens: counts,
  output_tokens: counts,
  cache_read_input_tokens: fc.option(counts),
  cache_creation: fc.record({ ephemeral_5m_input_tokens: counts }),
  server_tool_use: fc.record({ web_search_requests: counts }),
  iterations: fc.array(fc.record({ type: fc.constant('message'), input_tokens: counts }), { maxLength: 2 }),
  service_tier: fc.constant('standard'),
  new_count: counts,
})

const words = fc.constantFrom(' \n', 'Done.', 'Let me look.', ' a\n', 'é😀 \\"quoted\\"', 'x'.repeat(80))
const shown: fc.Arbitrary<MeantBlock> = fc.oneof(
  words.map((text): MeantBlock => ({ is: 'text', text })),
  words.map((text): MeantBlock => ({ is: 'thinking', text })),
  fc.constantFrom<MeantBlock>({ is: 'redacted' }, { is: 'search' }, { is: 'unknown' }),
)
const inputs = fc.constantFrom<JsonObject>({}, { a: 'é"' }, { deep: { list: [1, null, { b: 2.5 }] } })
const hidden = fc
  .tuple(fc.constantFrom('bmcp_wiki_find', 'bmcp_wiki_read', 'bmcp_wiki_unknown'), inputs)
  .map(([name, input]): MeantBlock => ({ is: 'call', name, input }))
const visible = inputs.map((input): MeantBlock => ({ is: 'call', name: 'Read', input }))
const several = (block: fc.Arbitrary<MeantBlock>, minLength: number) => fc.array(block, { minLength, maxLength: 3 })

function roundOf(stopReason: string, ...lists: fc.Arbitrary<MeantBlock[]>[]): fc.Arbitrary<MeantRound> {
  return fc
    .tuple(usages, ...lists)
    .chain(([usage, ...all]) =>
      fc.shuffledSubarray(all.flat(), { minLength: all.flat().length }).map(blocks => ({ blocks, stopReason, usage })),
    )
}

/** A round of which the hidden calls are run, and another round follows. */
const hiddenRound = roundOf('tool_use', several(shown, 0), several(hidden, 1))
const lastRound = fc.oneof(
  roundOf('end_turn', several(shown, 0)),
  roundOf('tool_use', several(shown, 0), several(visible, 1)),
  roundOf('tool_use', several(shown, 0), several(visible, 1), several(hidden, 1)),
  fc
    .tuple(roundOf('max_tokens', several(shown, 0), several(visible, 0)), several(hidden, 1))
    .map(([round, unfinished]) => ({ ...round, blocks: [...round.blocks, ...unfinished] })),
)

/** The rounds of a turn: all but the last one have hidden calls alone. */
export const turns: fc.Arbitrary<MeantRound[]> = fc
  .tuple(fc.array(hiddenRound, { maxLength: 3 }), lastRound)
  .map(([rounds, last]) => [...rounds, last])
