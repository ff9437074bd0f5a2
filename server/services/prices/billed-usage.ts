/** Reads from a record of tokens what is billed: classes of tokens, searches, and the mode of the request. */
import { outcomeKey } from '../../../shared/contract/recorder.js'
import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import type { BilledUsage } from './price.js'

/** The counts and the metadata of a record of tokens. */
export interface CountedTokens {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadInputTokens: number
  readonly cacheWriteInputTokens: number
  readonly metadata?: JsonObject | null | undefined
}

/** The names under which vendors report that nothing special was asked for. */
const standard: ReadonlySet<string> = new Set(['standard', 'standard_only', 'default', 'auto', 'on_demand', 'normal'])
/** Anthropic's places without a price of their own. */
const anywhere: ReadonlySet<string> = new Set(['global', 'not_available'])

/** Returns what is billed. Counts that contradict each other are fitted into the tokens of the record. */
export function billedUsageOf(record: CountedTokens): BilledUsage {
  const { inputTokens: input, outputTokens: output, cacheReadInputTokens: cacheRead } = record
  const metadata = objectOf(record.metadata)
  const cacheWrite1h = Math.min(
    record.cacheWriteInputTokens,
    countOf(objectOf(metadata.cache_creation).ephemeral_1h_input_tokens),
  )
  const [inputAudio, inputImage] = partsOf(metadata, inputGroups, input)
  const [outputAudio, outputImage] = partsOf(metadata, outputGroups, output)
  return {
    counts: {
      input: input - inputAudio - inputImage,
      output: output - outputAudio - outputImage,
      cacheRead,
      cacheWrite: record.cacheWriteInputTokens - cacheWrite1h,
      cacheWrite1h,
      inputAudio,
      inputImage,
      outputAudio,
      outputImage,
      webSearch: searchesOf(metadata),
    },
    totalInput: input + cacheRead + record.cacheWriteInputTokens,
    modes: modesOf(metadata),
  }
}

/** Returns the model that served a response, as the vendor names it; undefined if it did not say. */
export function servedModelOf(metadata: JsonObject | null | undefined): string | undefined {
  const { served_model: model } = objectOf(objectOf(metadata)[outcomeKey])
  return typeof model === 'string' && model !== '' ? model : undefined
}

const inputGroups = ['prompt_tokens_details', 'input_tokens_details']
const outputGroups = ['completion_tokens_details', 'output_tokens_details']

/** Returns the tokens of audio and of images among tokens. */
function partsOf(metadata: JsonObject, groups: readonly string[], tokens: number): [audio: number, image: number] {
  const details = groups.map(name => objectOf(metadata[name]))
  const largest = (name: string) => Math.max(...details.map(fields => countOf(fields[name])))
  const audio = Math.min(tokens, largest('audio_tokens'))
  return [audio, Math.min(tokens - audio, largest('image_tokens'))]
}

/** Anthropic counts searches apart from fetches, which cost nothing; others count searches alone. */
function searchesOf(metadata: JsonObject): number {
  const { server_tool_use: tools } = metadata
  if (isPlainObject(tools)) return countOf(tools.web_search_requests)
  return countOf(objectOf(metadata[outcomeKey]).searches)
}

function modesOf(metadata: JsonObject): string[] {
  const outcome = objectOf(metadata[outcomeKey])
  const tier = nameOf(outcome.service_tier ?? metadata.service_tier)
  const speed = nameOf(outcome.speed ?? metadata.speed)
  const place = nameOf(metadata.inference_geo)
  return [
    ...(tier === undefined || standard.has(tier) ? [] : [tier]),
    ...(speed === undefined || standard.has(speed) ? [] : [`speed:${speed}`]),
    ...(place === undefined || anywhere.has(place) ? [] : [`geo:${place}`]),
  ]
}

function nameOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.toLowerCase().slice(0, 64) : undefined
}

function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.trunc(value) : 0
}

function objectOf(value: unknown): JsonObject {
  return isPlainObject(value) ? (value as JsonObject) : {} // came out of JSON
}
