/** Frames of a WebSocket as bytes (RFC 6455, section 5), well-formed and broken. */
import type { Choice } from './choice.js'

/** Bytes of one or several frames, with words for the script of a failure. */
export interface Frames {
  readonly hex: string
  readonly note: string
  /** whether a peer may send them, and goes on after them */
  readonly isSound: boolean
}

const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 }

interface FrameOptions {
  fin?: boolean
  reservedBits?: number
  /** The length in the header; default: the payload's. */
  length?: bigint
  /** bytes of the length, whether or not fewer were enough: 0, 2 or 8 */
  lengthBytes?: 0 | 2 | 8
}

/** Returns one frame. Frames of a client are masked. */
export function frame(opcode: number, payload: Buffer, isMasked: boolean, options: FrameOptions = {}): Buffer {
  const { fin = true, reservedBits = 0, length = BigInt(payload.length) } = options
  const lengthBytes = options.lengthBytes ?? (length < 126n ? 0 : length < 65_536n ? 2 : 8)
  const head = Buffer.alloc(2 + lengthBytes)
  head[0] = (fin ? 0x80 : 0) | (reservedBits << 4) | opcode
  head[1] = (isMasked ? 0x80 : 0) | (lengthBytes === 0 ? Number(length) : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) head.writeUInt16BE(Number(length), 2)
  if (lengthBytes === 8) head.writeBigUInt64BE(length, 2)
  if (!isMasked) return Buffer.concat([head, payload])
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78])
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))])
}

/** Returns the frame of one message. */
export function textFrame(text: string, isMasked: boolean): Buffer {
  return frame(opcodes.text, Buffer.from(text), isMasked)
}

/** Makes frames of a message's text, or beside it. */
export function framesOf(choice: Choice, text: string, isMasked: boolean): Frames {
  const [note, isSound, make] = choice.pick(kinds)
  return { hex: make({ choice, payload: Buffer.from(text), isMasked }).toString('hex'), note, isSound }
}

interface Making {
  choice: Choice
  payload: Buffer
  isMasked: boolean
}

const none = Buffer.alloc(0)

const kinds: readonly (readonly [note: string, isSound: boolean, make: (making: Making) => Buffer])[] = [
  ['a ping', true, ({ choice, isMasked }) => frame(opcodes.ping, Buffer.alloc(choice.pick([0, 1, 125])), isMasked)],
  [
    'an unasked pong',
    true,
    ({ choice, isMasked }) => frame(opcodes.pong, Buffer.alloc(choice.pick([0, 125])), isMasked),
  ],
  ['a message in parts', true, making => Buffer.concat(partsOf(making))],
  [
    'a message in parts, pings between',
    true,
    making => Buffer.concat(partsOf(making).flatMap(part => [part, frame(opcodes.ping, none, making.isMasked)])),
  ],
  [
    'a length in eight bytes',
    true,
    ({ payload, isMasked }) => frame(opcodes.text, payload, isMasked, { lengthBytes: 8 }),
  ],
  ['a message in parts without an end', false, making => Buffer.concat(partsOf(making).slice(0, -1))],
  [
    'a message inside a message',
    false,
    making => Buffer.concat(partsOf(making).flatMap(part => [part, textFrame('PING', making.isMasked)])),
  ],
  ['a part of no message', false, ({ payload, isMasked }) => frame(opcodes.continuation, payload, isMasked)],
  ['a binary message', false, ({ payload, isMasked }) => frame(opcodes.binary, payload, isMasked)],
  ['the wrong mask', false, ({ payload, isMasked }) => frame(opcodes.text, payload, !isMasked)],
  [
    'reserved bits',
    false,
    ({ choice, payload, isMasked }) => frame(opcodes.text, payload, isMasked, { reservedBits: 1 + choice.below(7) }),
  ],
  [
    'a reserved opcode',
    false,
    ({ choice, payload, isMasked }) => frame(choice.pick([3, 4, 7, 11, 15]), payload.subarray(0, 100), isMasked),
  ],
  ['a long ping', false, ({ isMasked }) => frame(opcodes.ping, Buffer.alloc(126), isMasked)],
  ['a ping in parts', false, ({ isMasked }) => frame(opcodes.ping, none, isMasked, { fin: false })],
  [
    'a length that lies',
    false,
    ({ choice, payload, isMasked }) =>
      frame(opcodes.text, payload, isMasked, {
        length: choice.pick([
          0n,
          125n,
          126n,
          65_535n,
          65_536n,
          4_194_304n,
          4_194_305n,
          2n ** 32n,
          2n ** 53n,
          2n ** 63n,
          2n ** 64n - 1n,
        ]),
      }),
  ],
  [
    'text that is no UTF-8',
    false,
    ({ isMasked }) => frame(opcodes.text, Buffer.from([0x22, 0xff, 0xc0, 0x22]), isMasked),
  ],
  ['text that is no JSON', false, ({ payload, isMasked }) => frame(opcodes.text, payload.subarray(0, -1), isMasked)],
  [
    'a close',
    false,
    ({ choice, isMasked }) => {
      const code = choice.pick([0, 999, 1000, 1001, 1004, 1005, 1006, 1009, 1015, 3000, 4401, 4403, 4008, 5000, 65_535])
      const payload = Buffer.alloc(2 + choice.pick([0, 5]), 0x61)
      payload.writeUInt16BE(code)
      return frame(opcodes.close, payload, isMasked)
    },
  ],
  ['a close of one byte', false, ({ isMasked }) => frame(opcodes.close, Buffer.from([3]), isMasked)],
  ['a close without a code', false, ({ isMasked }) => frame(opcodes.close, none, isMasked)],
  ['a close that is no UTF-8', false, ({ isMasked }) => frame(opcodes.close, Buffer.from([3, 0xe8, 0xff]), isMasked)],
  [
    'a close, and a message behind it',
    false,
    ({ payload, isMasked }) =>
      Buffer.concat([frame(opcodes.close, none, isMasked), frame(opcodes.text, payload, isMasked)]),
  ],
  [
    'a close, and much behind it',
    false,
    ({ isMasked }) => Buffer.concat([frame(opcodes.close, none, isMasked), Buffer.alloc(12_000, 0x81)]),
  ],
  [
    'the begin of a frame',
    false,
    ({ choice, payload, isMasked }) => {
      const whole = frame(opcodes.text, payload, isMasked)
      return whole.subarray(0, choice.below(whole.length))
    },
  ],
  ['any bytes', false, ({ choice }) => Buffer.from(choice.list(40, () => choice.below(256)))],
]

function partsOf({ choice, payload, isMasked }: Making): Buffer[] {
  const count = 2 + choice.below(4)
  return Array.from({ length: count }, (_, index) => {
    const part = payload.subarray((payload.length * index) / count, (payload.length * (index + 1)) / count)
    const isLast = index === count - 1
    return frame(index === 0 ? opcodes.text : opcodes.continuation, part, isMasked, { fin: isLast })
  })
}

/** Returns the messages in a server's or client's output, and whether a close stands behind them. */
export function readFrames(output: Buffer): { texts: string[]; isClosed: boolean } {
  const texts: string[] = []
  let isClosed = false
  let at = 0
  while (at + 2 <= output.length) {
    const opcode = (output[at] ?? 0) & 0x0f
    const second = output[at + 1] ?? 0
    let length = second & 0x7f
    let start = at + 2
    if (length === 126) {
      length = start + 2 <= output.length ? output.readUInt16BE(start) : 0
      start += 2
    } else if (length === 127) {
      length = start + 8 <= output.length ? Number(output.readBigUInt64BE(start)) : 0
      start += 8
    }
    const mask = second & 0x80 ? output.subarray(start, start + 4) : undefined
    if (mask) start += 4
    if (start + length > output.length) break
    const payload = output.subarray(start, start + length)
    if (opcode === opcodes.text)
      texts.push((mask ? payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0)) : payload).toString())
    if (opcode === opcodes.close) isClosed = true
    at = start + length
  }
  return { texts, isClosed }
}
