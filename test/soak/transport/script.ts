/** One case: what a lying peer does, step by step. A failure prints its script. */
import type { Choice } from './choice.js'
import { type Frames, framesOf } from './frames.js'
import { frameText } from './messages.js'

export type Step =
  | { readonly do: 'send'; readonly text: string }
  /** over a WebSocket only */
  | ({ readonly do: 'bytes' } & Frames)
  /**
   * `turn`: one turn of the event loop; `stall`: some; `wait`: time for a dial; `cut`: the connection is lost; `end`:
   * one half is closed
   */
  | { readonly do: 'turn' | 'stall' | 'wait' | 'cut' | 'end' | 'drain' | 'stop reading' | 'read on' }
  | { readonly do: 'close'; readonly code?: number }

/** How the bytes of a WebSocket arrive. */
export type Chunks = 'whole' | 'bytes' | 'cuts'

export interface Script {
  /** the number of the case, from which everything follows */
  readonly seed: number
  readonly link: 'memory' | 'websocket' | 'browser' | 'tcp'
  readonly chunks: Chunks
  readonly settings: Readonly<Record<string, unknown>>
  readonly steps: readonly Step[]
}

/** Makes the steps of one connection. */
export function makeSteps(
  choice: Choice,
  link: Script['link'],
  message: (choice: Choice) => string,
  /** the peer is a client */
  isMasked: boolean,
): Step[] {
  const steps: Step[] = []
  const isOdd = (link === 'websocket' || link === 'tcp') && choice.chance(0.6)
  const count = 1 + choice.below(6)
  for (let step = 0; step < count; step++) {
    const text = frameText(choice, message)
    if (isOdd && choice.chance(0.4)) steps.push({ do: 'bytes', ...framesOf(choice, text, isMasked) })
    else steps.push({ do: 'send', text })
    const dice = choice.next()
    if (dice < 0.3) steps.push({ do: dice < 0.25 ? 'turn' : 'stall' })
    else if (dice < 0.34 && link !== 'memory')
      steps.push({ do: choice.pick(['stop reading', 'read on', 'end'] as const) })
    else if (dice < 0.36 && !isMasked) steps.push(endOf(choice), { do: 'wait' })
  }
  if (choice.chance(0.2)) steps.push(endOf(choice))
  else if (isMasked && choice.chance(0.05)) steps.push({ do: 'drain' })
  return steps
}

function endOf(choice: Choice): Step {
  if (choice.chance(0.5)) return { do: 'cut' }
  return { do: 'close', code: choice.pick([1000, 1001, 1002, 1005, 1006, 1008, 1009, 1011, 4001, 4008, 4401, 4403]) }
}

/** Returns the parts of bytes in which a network delivers them. */
export function chunksOf(bytes: Buffer, chunks: Chunks, choice: Choice): Buffer[] {
  // A long message byte by byte takes the time of a thousand cases.
  if (chunks === 'bytes' && bytes.length <= 400) return Array.from(bytes, byte => Buffer.from([byte]))
  if (chunks === 'whole') return [bytes]
  const parts: Buffer[] = []
  for (let start = 0; start < bytes.length; ) {
    const end = start + 1 + choice.below(Math.max(1, bytes.length / 2))
    parts.push(bytes.subarray(start, end))
    start = end
  }
  return parts
}

/** Returns the shortest script found that still fails, by leaving steps out. */
export async function minimise(script: Script, fails: (script: Script) => Promise<boolean>): Promise<Script> {
  let shortest = script
  for (let index = shortest.steps.length - 1; index >= 0; index--) {
    const shorter = { ...shortest, steps: shortest.steps.filter((_, place) => place !== index) }
    if (await fails(shorter)) shortest = shorter
  }
  const simple = { ...shortest, chunks: 'whole' as const, settings: {} }
  return (await fails(simple)) ? simple : shortest
}
