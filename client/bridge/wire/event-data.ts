import type { EventFrame } from './event-frames.js'
import { EventSplitter } from './event-splitter.js'

const colon = 58
const space = 32

/** Returns the bytes of an event with other data. Everything else in it stays, if its data stands in one line. */
export function withData({ bytes, event }: EventFrame, data: readonly Buffer[]): Buffer {
  const range = dataRange(bytes)
  if (range) return Buffer.concat([bytes.subarray(0, range.start), ...data, bytes.subarray(range.end)])
  const name = event?.event ?? ''
  return Buffer.concat([Buffer.from(name === '' ? 'data: ' : `event: ${name}\ndata: `), ...data, Buffer.from('\n\n')])
}

/** Returns where the data of an event stands; undefined if there is none, or in several lines. */
function dataRange(bytes: Buffer): { start: number; end: number } | undefined {
  let range: { start: number; end: number } | undefined
  for (const { start, contentEnd: end } of new EventSplitter().split(bytes)) {
    if (bytes.toString('latin1', start, start + 4) !== 'data' || bytes[start + 4] !== colon) continue
    if (range) return undefined
    range = { start: start + (bytes[start + 5] === space ? 6 : 5), end }
  }
  return range
}
