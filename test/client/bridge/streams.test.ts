/** Streams that are cut, encoded and labelled in every way: records and the client's bytes stay the same. */
import { randomBytes } from 'node:crypto'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { ResponseFacts } from '../../../client/bridge/providers/provider-api.js'
import { Inspection } from '../../../client/bridge/recording/inspection.js'
import { EventFilter } from '../../../client/bridge/wire/event-filter.js'
import type { JsonObject } from '../../../shared/values/text.js'
import { eventsOf } from '../../fixtures/provider.js'
import { fc } from '../../fixtures/random.js'
import { type ApiRow, apiRows, type LoadedConversation } from './apis.js'
import { memoryLogger } from './running-bridge.js'

interface Read {
  facts: ReturnType<typeof timeless>
  /** the bytes that reach the client */
  shown: string
}

/** Reads a response as a bridge does, chunk by chunk. */
async function read(
  api: ApiRow,
  request: string,
  chunks: readonly Buffer[],
  headers: string[] = ['content-type', 'text/event-stream'],
  status = 200,
): Promise<Read> {
  const { logger } = memoryLogger()
  const reader = api.route.createResponseReader()
  const inspection = new Inspection({ head: { status, statusText: '', headers }, reader, maxBytes: 1e6, logger })
  const body = Buffer.from(request)
  const adaptation = api.route.adapt?.(JSON.parse(request) as JsonObject, body) // a recorded object
  const filter = adaptation && new EventFilter(adaptation)
  const shown: Buffer[] = []
  for (const chunk of chunks) {
    inspection.write(chunk)
    shown.push(filter?.push(chunk) ?? chunk)
  }
  if (filter) shown.push(filter.end())
  return { facts: timeless(await inspection.end()), shown: Buffer.concat(shown).toString() }
}

/** Returns facts without the times, which differ between runs. */
function timeless({ tools, thoughts, ...rest }: ResponseFacts) {
  return {
    ...rest,
    tools: tools.map(({ at: _, input, ...call }) => ({ ...call, input: input.text })),
    thoughts: thoughts.map(({ content }) => content.text),
  }
}

/** Returns the events, each with its blank line, even if the recorded stream lacks the last one. */
const wholeEventsOf = (response: string) => eventsOf(response).map(event => `${event.trimEnd()}\n\n`)
const bytewise = (bytes: Buffer) => Array.from(bytes, byte => Buffer.of(byte))
const streamsOf = ({ conversations }: ApiRow) =>
  conversations.filter(({ mode, response }) => mode === 'streaming' && !response.startsWith('HTTP/'))
const isSmall = ({ response }: LoadedConversation) => response.length < 8_000

/** Returns a chat as a client without a request for usage must see it: comments stay. */
function withoutUsageAlone(response: string): string {
  const lines = response.match(/[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$/g) ?? []
  const events: string[][] = [[]]
  for (const line of lines) {
    events.at(-1)?.push(line)
    if (/^[\r\n]/.test(line)) events.push([])
  }
  const shown = events.map(event => {
    if (!event.some(line => line.includes('"choices":[],"usage":{'))) return event
    return event.slice(
      0,
      event.findIndex(line => !line.startsWith(':')),
    )
  })
  return shown.flat().join('')
}

/** Other bytes with the same meaning. */
const encodings: [string, (response: string) => string][] = [
  ['lines that end with CRLF', response => response.replaceAll('\n', '\r\n')],
  ['lines that end with CR', response => response.replaceAll('\n', '\r')],
  ['data over several lines', response => response.replace(/^data: ?\{/gm, 'data: {\ndata:')],
  ['no space behind the colons', response => response.replace(/^(data|event): /gm, '$1:')],
  [
    'comments and pings between the events',
    response =>
      wholeEventsOf(response)
        .map(event => `: ping\n\n:\n${event}event: ping\ndata: {"type": "ping"}\n\n`)
        .join(''),
  ],
  [
    'malformed JSON in the middle',
    response =>
      wholeEventsOf(response)
        .map(event => `data: {"type":\n\n${event}data: [1\n\n`)
        .join(''),
  ],
  [
    'events of kinds that nobody knows',
    response =>
      wholeEventsOf(response)
        .map(event => `event: new.kind\ndata: {"type":"new.kind","index":0}\n\n${event}`)
        .join(''),
  ],
  ['other fields of an event', response => response.replace(/^data:/gm, 'id: 1\nretry: 5\nunknown\ndata:')],
  ['a byte order mark', response => `\ufeff${response}`],
  ['blank lines before', response => `\r\n\n\n${response}`],
]

describe.each(apiRows)('$name', api => {
  describe.each(streamsOf(api))('$fixture', one => {
    const bytes = Buffer.from(one.response)
    const whole = () => read(api, one.request, [bytes])

    test('a stream is read the same whole, byte by byte and cut anywhere', async () => {
      const expected = await whole()
      expect(expected.shown).toBe(api.shown(one.response))
      expect(await read(api, one.request, bytewise(bytes))).toEqual(expected)
      const cuts = fc.array(fc.nat(bytes.length), { maxLength: 6 })
      await fc.assert(
        fc.asyncProperty(cuts, async cuts => {
          const ends = [...cuts, bytes.length].sort((a, b) => a - b)
          const chunks = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
          expect(await read(api, one.request, chunks)).toEqual(expected)
        }),
        { numRuns: 25 },
      )
    })

    test.each(encodings)('a stream with %s is read the same', async (_, encode) => {
      const encoded = encode(one.response)
      const { facts } = await whole()
      const shown = api.shown(one.response) === one.response ? encoded : withoutUsageAlone(encoded)
      expect(await read(api, one.request, [Buffer.from(encoded)])).toEqual({ facts, shown })
      if (isSmall(one)) expect(await read(api, one.request, bytewise(Buffer.from(encoded)))).toEqual({ facts, shown })
    })

    test.each([
      ['gzip', gzipSync],
      ['br', brotliCompressSync],
      ['deflate', deflateSync],
    ] as const)('compressed (%s) it is the same, and passes as it is', async (encoding, compress) => {
      const { facts } = await whole()
      const compressed = compress(bytes)
      const headers = ['content-type', 'text/event-stream', 'content-encoding', encoding]
      const chunks = isSmall(one) ? bytewise(compressed) : [compressed]
      expect((await read(api, one.request, chunks, headers)).facts).toEqual(facts)
    })

    test.each([
      ['gzip', gzipSync],
      ['br', brotliCompressSync],
    ] as const)('compressed (%s) and cut off, it is recorded as far as it came', async (encoding, compress) => {
      // The end is made incompressible, so that a cut there leaves the whole response in the received bytes.
      const padded = Buffer.concat([bytes, Buffer.from(`\n\n: ${randomBytes(20_000).toString('hex')}`)])
      const cut = compress(padded).subarray(0, -5_000)
      const headers = ['content-type', 'text/event-stream', 'content-encoding', encoding]
      expect((await read(api, one.request, [cut], headers)).facts).toEqual((await whole()).facts)
    })

    test.each(['text/plain', 'application/json', 'application/octet-stream', undefined])(
      'a stream that is labelled as %s is recorded',
      async type => {
        const { facts } = await whole()
        const headers = type === undefined ? [] : ['Content-Type', type]
        expect((await read(api, one.request, [bytes], headers)).facts).toEqual(facts)
      },
    )
  })

  describe.each(streamsOf(api).filter(isSmall))('$fixture', one => {
    test('a stream that is cut in two at any byte is read the same', async () => {
      const bytes = Buffer.from(one.response)
      const expected = JSON.stringify(await read(api, one.request, [bytes]))
      for (let cut = 1; cut < bytes.length; cut++) {
        const actual = await read(api, one.request, [bytes.subarray(0, cut), bytes.subarray(cut)])
        if (JSON.stringify(actual) !== expected) expect(JSON.stringify(actual), `cut at ${cut}`).toBe(expected)
      }
    })
  })

  test('a stream without an event is an error without facts', async () => {
    const nothing = { msgId: undefined, usage: undefined, relayedCharacters: 0, tools: [], thoughts: [] }
    const error = { type: 'unknown', message: 'the response ended before it was complete' }
    for (const text of ['', '\n\n', ': nothing\n\n', 'data\n\n', 'event: x\n\n']) {
      expect((await read(api, '{"model":"m"}', [Buffer.from(text)])).facts).toMatchObject({ ...nothing, error })
    }
    // The body in an unknown encoding may hold anything.
    const headers = ['content-type', 'text/event-stream', 'content-encoding', 'unheard-of']
    const unread = (await read(api, '{"model":"m"}', [Buffer.from('1234')], headers)).facts
    expect(unread).toEqual({ tools: [], thoughts: [], relayedCharacters: 4, mayBeEstimated: true })
  })

  test.each(['id: 1\n', 'retry: 5\n', 'event: x\n', ': x\n'])(
    'a stream without a label is recognised by %j',
    async first => {
      const one = streamsOf(api).find(({ fixture }) => fixture === 'short')
      const { facts } = await read(api, one?.request ?? '', [Buffer.from(one?.response ?? '')])
      expect(facts.usage).toBeDefined()
      const rest = one?.response.replace(/^event: .*\n/, '') ?? ''
      expect((await read(api, one?.request ?? '', [Buffer.from(first + rest)], [])).facts).toEqual(facts)
    },
  )

  test('plain text of an error is not taken for a stream', async () => {
    for (const text of ['error code: 502', 'internal error', 'rate limited', 'denied']) {
      const { facts } = await read(api, '{"model":"m"}', [Buffer.from(text)], ['content-type', 'text/plain'], 502)
      expect(facts.error).toBeUndefined()
    }
  })

  test('an endlessly nested event is lost without the others', async () => {
    const deep = '['.repeat(50_000) + ']'.repeat(50_000)
    const short = streamsOf(api).find(({ fixture }) => fixture === 'everything')
    const events = [
      `{"type":"content_block_start","index":90,"content_block":{"type":"tool_use","id":"deep","name":"deep","input":{"a":${deep}}}}`,
      `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":90,"id":"deep","function":{"name":"deep","arguments":${deep}}}]}}]}`,
      `{"type":"response.output_item.done","output_index":90,"item":{"type":"local_shell_call","call_id":"deep","name":"deep","action":${deep}}}`,
    ]
    const before = events.map(data => `data: ${data}\n\n`).join('')
    const { facts } = await read(api, short?.request ?? '', [Buffer.from(short?.response ?? '')])
    const all = await read(api, short?.request ?? '', [Buffer.from(before + short?.response)])
    expect({ ...all.facts, tools: all.facts.tools.filter(({ tool }) => tool !== 'deep') }).toEqual(facts)
    expect(all.facts.tools.filter(({ tool }) => tool === 'deep')).toHaveLength(1)
  })

  test('a body that is labelled as a stream is read as a body', async () => {
    const [blocking] = api.conversations.filter(({ mode }) => mode === 'non-streaming')
    const text = Buffer.from(blocking?.response ?? '')
    const asBody = await read(api, '{"model":"m"}', [text], ['content-type', 'application/json'])
    expect(asBody.facts.usage).toBeDefined()
    expect((await read(api, '{"model":"m"}', [text])).facts).toEqual(asBody.facts)
    expect((await read(api, '{"model":"m"}', [Buffer.from('\ufeff \n'), text])).facts).toEqual(asBody.facts)
  })

  const foreign = 'the provider sent status 200 with a body that is no response of its API'
  const cut = 'the response ended before it was complete'
  test.each([
    ['null', foreign],
    ['7', foreign],
    ['"text"', foreign],
    ['[]', foreign],
    ['[{}]', foreign],
    ['{}', foreign],
    ['{"error":null}', foreign],
    ['{"choices":7,"output":{},"content":"x","usage":[]}', foreign],
    ['{"choices":[null,{"message":7}],"output":[null,{"type":"function_call"}].', cut],
    ['<html>', foreign],
    ['', foreign],
    ['{"id":', cut],
    ['{"detail":"Model not found"}', 'Model not found'],
    ['{"object":"error","message":"not today","type":"BadRequestError"}', 'not today'],
  ])('the body %s with status 200 is a failure without facts', async (text, message) => {
    const { facts } = await read(api, '{"model":"m"}', [Buffer.from(text)], ['content-type', 'application/json'])
    expect(facts).toMatchObject({ msgId: undefined, usage: undefined, tools: [], thoughts: [], error: { message } })
  })

  test('reading never fails, whatever a provider sends', async () => {
    const keys = fc.constantFrom(
      'type',
      'index',
      'id',
      'usage',
      'choices',
      'delta',
      'message',
      'tool_calls',
      'function',
      'name',
      'arguments',
      'item',
      'output_index',
      'response',
      'output',
      'error',
      'content_block',
      'summary',
      'content',
      'phase',
      '__proto__',
    )
    const types = fc.constantFrom(
      'message_start',
      'content_block_start',
      'content_block_delta',
      'tool_use',
      'thinking',
      'response.output_item.added',
      'response.output_item.done',
      'function_call',
      'reasoning',
      'message',
      'response.completed',
      'error',
    )
    const { value } = fc.letrec(tie => ({
      value: fc.oneof(
        { maxDepth: 5 },
        types,
        fc.jsonValue({ maxDepth: 1 }),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(keys, tie('value'), { maxKeys: 6 }),
      ),
    }))
    await fc.assert(
      fc.asyncProperty(fc.array(value, { maxLength: 5 }), async values => {
        const reader = api.route.createResponseReader()
        for (const one of values) reader.event({ event: '', data: JSON.stringify(one) })
        for (const one of values) reader.body(one)
        reader.facts()
      }),
      { numRuns: 300 },
    )
  })
})
