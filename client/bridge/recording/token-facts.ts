/** The tokens of a response, and the facts beside them, as a record can hold them. */
import { recordLimits } from '../../../shared/contract/limits.js'
import type { Logger } from '../../../shared/values/log.js'
import {
  cleanJsonObject,
  isPlainObject,
  type JsonObject,
  JsonRejected,
  type JsonValue,
  setOwn,
} from '../../../shared/values/text.js'
import type { BilledPart, Outcome, ResponseFacts, TokenCounts } from '../providers/provider-api.js'

/** Returns counts that fit a record. */
export function countsOf(usage: TokenCounts) {
  return {
    inputTokens: tokens(usage.input),
    outputTokens: tokens(usage.output),
    cacheReadInputTokens: tokens(usage.cacheRead),
    cacheWriteInputTokens: tokens(usage.cacheWrite),
  }
}

/** Returns the nearest count that a record can hold. */
function tokens(count: number): number {
  return Math.min(recordLimits.maxTokens, Math.max(0, Math.trunc(count) || 0))
}

/** A part of a response that gets a token usage of its own. */
type Part = TokenCounts & { model?: string | undefined; estimated?: true }

/** Returns the parts that are billed: the provider's counts, or an estimate where the provider sent none. */
export function billedParts(response: ResponseFacts, requestBytes: number): Part[] {
  const usage: Part | undefined = response.usage
  const beside: readonly BilledPart[] = response.billedBeside ?? []
  const characters = response.relayedCharacters ?? 0
  if (!response.mayBeEstimated || response.usageIsFinal || characters === 0)
    return usage ? [usage, ...beside] : [...beside]
  const output = Math.ceil(characters / charactersPerToken)
  const input = Math.ceil(requestBytes / charactersPerToken)
  const hasInput = usage !== undefined && usage.input + usage.cacheRead + usage.cacheWrite > 0
  const estimate = usage
    ? { ...usage, input: hasInput ? usage.input : input, output: Math.max(usage.output, output) }
    : { input, output, cacheRead: 0, cacheWrite: 0, details: {} }
  return [{ ...estimate, estimated: true }, ...beside]
}

/** a token is about four characters of English text */
const charactersPerToken = 4

/** Returns the facts that are known. Names are kept only if they have the form of one: text may hold anything. */
export function outcomeOf(outcome: Outcome): JsonObject {
  const known: JsonObject = {}
  for (const [name, value] of Object.entries(outcome)) {
    const kept = name === 'served_model' ? keptModel(value) : keptFact(value)
    if (kept !== undefined) known[name] = kept
  }
  return known
}

/** Names of models are longer than other facts, and some have blanks or brackets. */
function keptModel(value: unknown): string | undefined {
  return typeof value === 'string' && modelForm.test(value) ? value : undefined
}

const modelForm = /^[\x20-\x7e]{1,256}$/

function keptFact(value: Outcome[keyof Outcome]): JsonValue | undefined {
  if (typeof value === 'string') return factForm.test(value) ? value : undefined
  if (typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => factForm.test(name))
      .slice(0, maxCounts),
  )
}

/** the form of an enumeration or a model's name */
const factForm = /^[\w.:/@+-]{1,128}$/
/** a fact with more counts is cut */
const maxCounts = 32

/**
 * Returns the facts, and further fields of the provider's usage, as metadata; only the facts if a record cannot hold
 * the fields.
 */
export function detailsOf(
  logger: Logger,
  interceptionId: string,
  details: JsonObject,
  recordContent: boolean,
  facts: JsonObject,
): { metadata?: JsonObject } {
  const known = Object.fromEntries(Object.entries(facts).filter(([, value]) => !isEmpty(value)))
  let metadata = known
  try {
    const clean = cleanJsonObject(
      Object.assign({}, details, known),
      recordLimits.maxMetadataBytes,
      recordLimits.maxMetadataDepth,
    )
    metadata = recordContent ? clean : { ...countsIn(clean), ...known }
  } catch (error) {
    if (!(error instanceof JsonRejected)) throw error
    logger.warn({ interceptionId, reason: error.message }, 'details of token usage cannot be recorded')
  }
  return isEmpty(metadata) ? {} : { metadata }
}

/** Returns whether a value is an object without members. */
export function isEmpty(value: JsonValue): boolean {
  return isPlainObject(value) && Object.keys(value).length === 0
}

/** Returns the numbers of the details, also those in lists: text may hold anything. */
function countsIn(details: JsonObject): JsonObject {
  const kept: JsonObject = {}
  for (const [name, value] of Object.entries(details)) {
    // A name may be words too.
    const counts = factForm.test(name) ? countsOfValue(value) : undefined
    if (counts !== undefined) setOwn(kept, name, counts)
  }
  return kept
}

function countsOfValue(value: JsonValue): JsonValue | undefined {
  if (typeof value === 'number') return value
  if (Array.isArray(value)) {
    const counts = value.flatMap(item => countsOfValue(item) ?? [])
    return counts.length === 0 ? undefined : counts
  }
  return isPlainObject(value) ? countsIn(value) : undefined
}
