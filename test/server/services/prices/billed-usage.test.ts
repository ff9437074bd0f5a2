import { expect, test } from 'vitest'
import { billedUsageOf, servedModelOf } from '../../../../server/services/prices/billed-usage.js'
import type { JsonObject } from '../../../../shared/values/text.js'

const record = { inputTokens: 100, outputTokens: 50, cacheReadInputTokens: 30, cacheWriteInputTokens: 20 }
const counts = {
  input: 100,
  output: 50,
  cacheRead: 30,
  cacheWrite: 20,
  cacheWrite1h: 0,
  inputAudio: 0,
  inputImage: 0,
  outputAudio: 0,
  outputImage: 0,
  webSearch: 0,
}

test.each<[string, JsonObject | null, Partial<typeof counts>]>([
  ['nothing beside', null, {}],
  [
    'cache writes by lifetime',
    { cache_creation: { ephemeral_5m_input_tokens: 15, ephemeral_1h_input_tokens: 5 } },
    { cacheWrite: 15, cacheWrite1h: 5 },
  ],
  [
    'more hour-long writes than writes',
    { cache_creation: { ephemeral_1h_input_tokens: 99 } },
    { cacheWrite: 0, cacheWrite1h: 20 },
  ],
  [
    'searches, and fetches that cost nothing',
    { server_tool_use: { web_search_requests: 2, web_fetch_requests: 7 }, response: { searches: 9 } },
    { webSearch: 2 },
  ],
  ['searches among the facts', { response: { searches: 3 } }, { webSearch: 3 }],
  [
    'audio',
    { prompt_tokens_details: { audio_tokens: 40 }, completion_tokens_details: { audio_tokens: 50 } },
    { input: 60, inputAudio: 40, output: 0, outputAudio: 50 },
  ],
  ['images of the Responses API', { input_tokens_details: { image_tokens: 1_000 } }, { input: 0, inputImage: 100 }],
  ['counts that are none', { server_tool_use: { web_search_requests: 'x' }, cache_creation: 7, response: [] }, {}],
  ['negative counts', { server_tool_use: { web_search_requests: -1 } }, {}],
])('a record with %s', (_, metadata, expected) => {
  expect(billedUsageOf({ ...record, metadata })).toMatchObject({ counts: { ...counts, ...expected }, totalInput: 150 })
})

test.each<[JsonObject, string[]]>([
  [{ service_tier: 'standard', inference_geo: 'not_available' }, []],
  [{ response: { service_tier: 'default', speed: 'standard' } }, []],
  [{ response: { service_tier: 'Flex' } }, ['flex']],
  [
    { service_tier: 'standard', response: { service_tier: 'batch', speed: 'fast' }, inference_geo: 'us' },
    ['batch', 'speed:fast', 'geo:us'],
  ],
])('the modes of %j are %j', (metadata, modes) => {
  expect(billedUsageOf({ ...record, metadata }).modes).toEqual(modes)
})

test.each<[JsonObject | null, string | undefined]>([
  [{ response: { served_model: 'm' } }, 'm'],
  [{ response: { served_model: '' } }, undefined],
  [{ response: { served_model: 7 } }, undefined],
  [{ served_model: 'm' }, undefined],
  [null, undefined],
])('the served model of %j is %s', (metadata, model) => {
  expect(servedModelOf(metadata)).toBe(model)
})
