/**
 * The names that providers give to counts of tokens. One count may have several names, for a provider speaks the words
 * of the APIs that its own is modelled on; a name may stand at the top of a usage or in one of its groups.
 */
import { isPlainObject } from '../../../../shared/values/text.js'

type Fields = Readonly<Record<string, unknown>>

/** Groups with details of the input: OpenAI Chat, OpenAI Responses. */
const inputGroups = [
  'prompt_tokens_details',
  'prompt_token_details',
  'input_tokens_details',
  'input_token_details',
] as const
/** Groups with details of the output. */
const outputGroups = [
  'completion_tokens_details',
  'completion_token_details',
  'output_tokens_details',
  'output_token_details',
] as const

/**
 * - OpenAI `cached_tokens`, which Moonshot has at the top; DeepSeek `prompt_cache_hit_tokens`; Anthropic, Bedrock and
 *   proxies before them `cache_read_input_tokens`
 */
const cacheReadNames = spellings([
  'cached_tokens',
  'prompt_cache_hit_tokens',
  'cache_read_input_tokens',
  'cache_read_tokens',
  'cached_prompt_tokens',
  'cached_input_tokens',
  'num_cached_tokens',
  'cache_hit_tokens',
])
/** OpenAI and OpenRouter `cache_write_tokens`; Anthropic `cache_creation_input_tokens`. */
const cacheWriteNames = spellings([
  'cache_write_tokens',
  'cache_creation_tokens',
  'cache_creation_input_tokens',
  'cache_write_input_tokens',
  'prompt_cache_write_tokens',
])
const reasoningNames = spellings(['reasoning_tokens', 'thinking_tokens'])
const inputNames = spellings(['prompt_tokens', 'input_tokens'])
const outputNames = spellings(['completion_tokens', 'output_tokens'])
const totalNames = spellings(['total_tokens'])

/** Returns the tokens of the input; undefined without a count. */
export const inputOf = (usage: Fields): number | undefined => largest(usage, [], inputNames)
/** Returns the tokens of the output; undefined without a count. */
export const outputOf = (usage: Fields): number | undefined => largest(usage, [], outputNames)
/** Returns the provider's total; undefined without a count. */
export const totalOf = (usage: Fields): number | undefined => largest(usage, [], totalNames)
/** Returns the input that was read from a cache; undefined without a count. */
export const cacheReadOf = (usage: Fields): number | undefined => largest(usage, inputGroups, cacheReadNames)
/** Returns the input that was written into a cache; undefined without a count. */
export const cacheWriteOf = (usage: Fields): number | undefined =>
  largest(usage, inputGroups, cacheWriteNames) ?? sumOfClasses(usage.cache_creation)
/** Returns the output that was reasoning; undefined without a count. */
export const reasoningOf = (usage: Fields): number | undefined => largest(usage, outputGroups, reasoningNames)

/** Returns Anthropic's writes by lifetime of the cache (5 minutes, 1 hour) together; undefined without a count. */
export function sumOfClasses(classes: unknown): number | undefined {
  if (!isPlainObject(classes)) return undefined
  const counts = Object.values(classes).flatMap(value => countOf(value) ?? [])
  return counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + count, 0)
}

/** Returns a number that can be a count: finite and not negative. */
export function countOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
}

/**
 * A provider that has a count under two names means one count; a name that the provider does not use is 0 or absent.
 */
function largest(usage: Fields, groups: readonly string[], names: readonly Spellings[]): number | undefined {
  let count = largestIn(usage, names)
  for (const group of groups) {
    const fields = usage[group]
    if (isPlainObject(fields)) count = larger(count, largestIn(fields, names))
  }
  return count
}

function largestIn(fields: Fields, names: readonly Spellings[]): number | undefined {
  let count: number | undefined
  for (const name of names) count = larger(count, own(fields, name))
  return count
}

function larger(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return Math.max(one, other)
}

function own(fields: Fields, { snake, camel }: Spellings): number | undefined {
  if (Object.hasOwn(fields, snake)) return countOf(fields[snake])
  return Object.hasOwn(fields, camel) ? countOf(fields[camel]) : undefined
}

/** A name in snake case, and in the camel case of Bedrock (`cacheReadInputTokens`). */
interface Spellings {
  snake: string
  camel: string
}

function spellings(names: readonly string[]): Spellings[] {
  return names.map(snake => ({ snake, camel: snake.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()) }))
}
