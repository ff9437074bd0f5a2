/** A provider that dies, and a client that disconnects, at every event of a stream: usage and end are recorded once. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../../fixtures/eventually.js'
import {
  createGate,
  eventStream,
  eventsOf,
  type Responder,
  raw,
  type StandInProvider,
  startProvider,
} from '../../fixtures/provider.js'
import { type ApiRow, apiRows, type LoadedConversation } from './apis.js'
import { anthropicProvider, begin, openaiProvider, type RunningBridge, send, startBridge } from './running-bridge.js'
import { type ScriptedControlPlane, scriptedControlPlane, testKey } from './scripted-control-plane.js'

let provider: StandInProvider
let plane: ScriptedControlPlane
let bridge: RunningBridge

beforeAll(async () => {
  provider = await startProvider()
  plane = scriptedControlPlane([anthropicProvider(provider.url), openaiProvider(provider.url)])
  bridge = await startBridge(plane, { drainMs: 20 })
})
afterEach(() => plane.forget())
afterAll(async () => {
  // No record came twice or late: the control plane would have rejected it.
  expect(
    bridge.log.filter(({ level }) => level === 'error' || level === 'warn').map(({ message }) => message),
  ).not.toContain('the control plane rejected a record for good')
  await bridge.close()
  await provider.close()
  expect(provider.unexpected).toBe(0)
})

const streamHead = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
const chunked = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const headers = { 'x-api-key': testKey }

/** Sends these events, then ends the connection inside the response. */
const diesAfter = (events: string[]): Responder => raw(streamHead + events.map(chunked).join(''))
/** Sends these events and then stays silent. */
const fallsSilentAfter = (events: string[]): Responder =>
  eventStream([...events, ': never sent'].join(''), { [events.length]: createGate() })

/** Returns the expected records of the first events, without the bridge's own reader. */
function usedIn(events: string[]) {
  const text = events.join('').replaceAll('\ndata: ', '')
  const last = (pattern: RegExp) => [...text.matchAll(pattern)].at(-1)?.[1]
  const output = last(/"(?:output_tokens|completion_tokens)":(\d+)/g)
  const ids = text.matchAll(/"(?:call_id|id)":"((?:call|toolu)_\w+)"/g)
  return {
    outputTokens: output === undefined ? [] : [Number(output)],
    // Only the last count of a stream is the provider's count of the whole.
    isCounted: /"type":"message_delta"|"usage":\{"(input|prompt|output|completion)_tokens/.test(
      text.replace(/.*"message_start".*/g, ''),
    ),
    toolCalls: [...new Set(Array.from(ids, ([, id]) => id))],
    // A client that leaves behind the reason for the end has the whole response.
    isWhole: /"(stop|finish)_reason":"|"type":"response\.(completed|incomplete)"|\[DONE\]/.test(text),
    isComplete: /"type":"(message_stop|error|response\.(completed|incomplete|failed))"|\[DONE\]|"error":\{/.test(text),
  }
}

async function expectRecorded(events: string[], isError: boolean): Promise<void> {
  await eventually(() => expect(plane.stored('interceptionEnded')).toHaveLength(1))
  const { outputTokens, toolCalls, isCounted } = usedIn(events)
  const [usage, ...others] = plane.stored('tokenUsage')
  expect(others).toEqual([])
  if (usage?.metadata?.estimated) expect({ isCounted }).toEqual({ isCounted: false })
  else expect(usage ? [usage.outputTokens] : []).toEqual(outputTokens)
  expect(plane.stored('toolUsage').map(record => record.toolCallId)).toEqual(toolCalls)
  expect(plane.stored('promptUsage')).toHaveLength(1)
  if (isError) expect(plane.stored('interceptionEnded')[0]).toHaveProperty('errorType')
  plane.forget()
}

function streamsOf({ conversations }: ApiRow): (LoadedConversation & { events: string[] })[] {
  return conversations
    .filter(({ mode, response }) => mode === 'streaming' && !response.startsWith('HTTP/') && response.length < 15_000)
    .map(one => ({ ...one, events: eventsOf(one.response) }))
}

describe.each(apiRows)('$name', api => {
  describe.each(streamsOf(api))('$fixture', ({ request, events, error }) => {
    const ask = { path: api.path, body: request, headers }

    test('a provider that dies behind any event leaves its usage and one end', async () => {
      for (let count = 0; count <= events.length; count++) {
        const sent = events.slice(0, count)
        provider.respondWith(diesAfter(sent))
        const response = await send(bridge, ask)
        expect(response.body.toString()).toBe(api.shown(sent.join('')))
        expect(response.whole).toBe(false)
        await expectRecorded(sent, !usedIn(sent).isComplete || error !== undefined)
      }
    })

    test('a client that disconnects behind any event leaves its usage and one end', async () => {
      for (let count = 1; count <= events.length; count++) {
        const sent = events.slice(0, count)
        const shown = api.shown(sent.join(''))
        // The client cannot wait for a hidden event.
        if (shown === api.shown(events.slice(0, count - 1).join(''))) continue
        provider.respondWith(fallsSilentAfter(sent))
        const response = await begin(bridge, ask)
        let received = 0
        for await (const chunk of response) {
          received += (chunk as Buffer).length // a stream without an encoding gives buffers
          if (received >= Buffer.byteLength(shown)) break
        }
        response.destroy()
        await provider.calls.at(-1)?.closed
        await expectRecorded(sent, !usedIn(sent).isWhole || error !== undefined)
      }
    })
  })
})
