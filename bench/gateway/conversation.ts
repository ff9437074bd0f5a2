/** What clients ask and the stand-in provider responds: OpenAI's Chat Completions, which all gateways serve. */

/** The two loads. */
export type LoadKind = 'blocking' | 'streams'

export const loadKinds: readonly LoadKind[] = ['blocking', 'streams']

/** Chunks of a stream, each in a write of its own. */
export const chunksOfStream = 100

/** Tokens of one response. */
export interface Tokens {
  input: number
  output: number
  cached: number
}

/** Sums over responses; equal sums mean that no response was lost, repeated or mixed up. */
export interface Counts extends Tokens {
  requests: number
}

/** Returns sums over no response. */
export function noCounts(): Counts {
  return { requests: 0, input: 0, output: 0, cached: 0 }
}

/** Adds a response. */
export function count(counts: Counts, { input, output, cached }: Tokens): void {
  counts.requests++
  counts.input += input
  counts.output += output
  counts.cached += cached
}

/** Returns the tokens of the `number`th response of a provider. They differ, so that a mixed-up pair shows in a sum. */
export function tokensOf(number: number): Tokens {
  return { input: 40 + (number % 977), output: 90 + (number % 31), cached: number % 13 }
}

/** Returns the body of a request. */
export function requestBody(kind: LoadKind): string {
  return JSON.stringify({
    model: 'gpt-bench',
    ...(kind === 'streams' && { stream: true, stream_options: { include_usage: true } }),
    messages: [
      { role: 'system', content: 'You respond in few words.' },
      { role: 'user', content: 'How many planets does the sun have?' },
    ],
  })
}

const head = { id: 'chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012', created: 1_750_000_000, model: 'gpt-bench-2026-01-01' }
const fingerprint = { system_fingerprint: 'fp_0123456789' }

/** Returns the body of a blocking response. */
export function responseBody(tokens: Tokens): string {
  return JSON.stringify({
    ...head,
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'The sun has eight planets.', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: usageOf(tokens),
    service_tier: 'default',
    ...fingerprint,
  })
}

/** Returns the chunks of a stream; the last two have the usage and the end. */
export function streamChunks(tokens: Tokens): string[] {
  return [...deltas, event({ choices: [], usage: usageOf(tokens) }), 'data: [DONE]\n\n']
}

const deltas: readonly string[] = Array.from({ length: chunksOfStream - 2 }, (_, index) => {
  const isLast = index === chunksOfStream - 3
  const delta = isLast ? {} : { ...(index === 0 && { role: 'assistant' }), content: ' planets' }
  return event({ choices: [{ index: 0, delta, logprobs: null, finish_reason: isLast ? 'stop' : null }], usage: null })
})

function event(fields: object): string {
  return `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...fingerprint, ...fields })}\n\n`
}

function usageOf({ input, output, cached }: Tokens) {
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: 0 },
  }
}

/** Returns the tokens that a response names; undefined for a response that is not whole. */
export function tokensIn(response: string): Tokens | undefined {
  const [input, output, cached] = fields.map(field => Number(field.exec(response)?.[1] ?? Number.NaN))
  if (input === undefined || output === undefined || cached === undefined) return undefined
  return Number.isNaN(input + output + cached) ? undefined : { input, output, cached }
}

const fields = [/"prompt_tokens": ?(\d+)/, /"completion_tokens": ?(\d+)/, /"cached_tokens": ?(\d+)/]
