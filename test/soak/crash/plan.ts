/** One AI request as the harness plans it, before anything of it happens. */
import { gzipSync } from 'node:zlib'
import type { Choice } from '../transport/choice.js'
import { type Api, bodyOf, paths, requestBody } from './provider-bodies.js'

/** A part of the provider's response. */
export interface Part {
  bytes: Buffer
  /** the provider waits so long before the part */
  pauseMs: number
}

/** A planned request, the provider's response, and the client's manners. */
export interface Plan {
  /** stands in the session of the request and at the beginning of its prompt */
  tag: string
  api: Api
  isStream: boolean
  path: string
  body: string
  prompt: string
  /** the status of the provider's response; 200, or 529 for an overloaded provider */
  status: number
  contentType: string
  isCompressed: boolean
  /** whether the response has a Content-Length */
  hasLength: boolean
  parts: readonly Part[]
  /** between the last byte and the end of the response */
  endPauseMs: number
  /** the body that a client receives if all goes well */
  received: Buffer
  msgId: string
  /** the tokens that the provider bills; 0 for a response without usage */
  inputTokens: number
  outputTokens: number
  /** `reads` takes all at once, `slow` with pauses, `leaves` goes away behind `leavesAfterMs` */
  client: 'reads' | 'slow' | 'leaves'
  leavesAfterMs: number
}

/** Returns the plan of a request: mostly well-behaved ones, and all three APIs, streamed and in one piece. */
export function planOf(tag: string, choice: Choice, { promptBytes = 0 } = {}): Plan {
  const api = choice.pick(['anthropic', 'chat', 'responses'] as const)
  const isStream = choice.chance(0.6)
  const client = choice.pick(['reads', 'reads', 'reads', 'reads', 'reads', 'reads', 'slow', 'leaves'] as const)
  const asksForUsage = choice.chance(0.5)
  const isOverloaded = choice.chance(0.03)
  const isCompressed = !isOverloaded && !isStream && choice.chance(0.1)
  const prompt = `${tag} ${'please '.repeat(choice.below(20))}`.trimEnd().padEnd(promptBytes, '.')
  const wordLength = client === 'slow' && choice.chance(0.5) ? 16 * 1024 : 20
  const words = Array.from({ length: 1 + choice.below(12) }, (_, index) => `${index} `.padEnd(wordLength, 'word '))
  const text = {
    msgId: `msg_${tag}`,
    words,
    inputTokens: 10 + choice.below(1_000),
    outputTokens: 2 + choice.below(1_000),
  }
  const { contentType, texts, usageOnly } = bodyOf(api, isStream, text)
  const sent = isOverloaded ? overloaded : Buffer.from(texts.join(''))
  const passed = Buffer.from(asksForUsage ? texts.join('') : texts.filter(part => part !== usageOnly).join(''))
  const bytes = isCompressed ? gzipSync(sent) : sent
  return {
    tag,
    api,
    isStream: isStream && !isOverloaded,
    path: paths[api],
    body: JSON.stringify(requestBody(api, isStream, prompt, asksForUsage)),
    prompt,
    status: isOverloaded ? 529 : 200,
    contentType: isOverloaded ? 'application/json' : contentType,
    isCompressed,
    hasLength: (!isStream || isOverloaded) && choice.chance(0.7),
    parts: partsOf(bytes, choice),
    endPauseMs: choice.chance(0.2) ? choice.below(30) : 0,
    received: isOverloaded || isCompressed ? bytes : passed,
    msgId: text.msgId,
    inputTokens: isOverloaded ? 0 : text.inputTokens,
    outputTokens: isOverloaded ? 0 : text.outputTokens,
    client,
    leavesAfterMs: choice.below(150),
  }
}

const overloaded = Buffer.from(
  JSON.stringify({ type: 'error', error: { type: 'overloaded_error', message: 'the stand-in is overloaded' } }),
)

/** Cuts a body at random places, which need not be the bounds of its events. */
function partsOf(bytes: Buffer, choice: Choice): Part[] {
  const cuts = [0, ...choice.list(12, () => choice.below(bytes.length)), bytes.length].sort((a, b) => a - b)
  return cuts.slice(1).flatMap((end, index) => {
    const part = bytes.subarray(cuts[index], end)
    return part.length === 0 ? [] : [{ bytes: part, pauseMs: choice.below(index === 0 ? 60 : 25) }]
  })
}
