/**
 * Unauthenticated peers that flood a server and read nothing, in a process of their own:
 * `node flood-peers.mjs PORT COUNT SEED [KIND]`. Each peer dials again when it is closed, as one of all kinds or of the
 * one kind. Prints the number of dials, by kind, as JSON when its input ends.
 */
import { connect } from 'node:net'

const [port = 0, count = 0, seed = 0] = process.argv.slice(2).map(Number)

const mask = Buffer.alloc(4)
/** @type {(firstByte: number, text?: string) => Buffer} */
const frame = (firstByte, text = '') => {
  const { length } = text
  const head = length < 126 ? [firstByte, 0x80 | length] : [firstByte, 0xfe, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), mask, Buffer.from(text)])
}
/** @type {(one: Buffer, times: number) => Buffer} */
const repeat = (one, times) => Buffer.concat(new Array(times).fill(one))
const upgrade = Buffer.from(
  'GET /rpc?version=1.0&connectionParams=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
)
const params = frame(0x81, '{"method":"connectionParams","data":{"authorization":"Bearer unknown"}}')
const longFrame = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0])
const arrays = `[${'[],'.repeat(20_000)}[]]`
const call = `{"id":1,"method":"query","params":{"path":"x","input":${arrays}}}`.slice(0, 65_000)

/**
 * Each kind with the bytes after the connection is made, and the bytes that follow for ever, or the time in
 * milliseconds after which the peer leaves.
 *
 * @type {[string, Buffer, Buffer | number][]}
 */
const kinds = [
  ['WebSocket pings', upgrade, repeat(frame(0x89), 2_000)],
  ['pings with data', upgrade, repeat(frame(0x89, 'x'.repeat(125)), 200)],
  ['text PINGs', upgrade, repeat(frame(0x81, 'PING'), 2_000)],
  ['small frames', Buffer.concat([upgrade, params]), repeat(frame(0x81, '{"id":1,"method":"subscription.stop"}'), 500)],
  ['nested arrays', Buffer.concat([upgrade, params]), frame(0x81, call)],
  ['a first frame without an end', Buffer.concat([upgrade, longFrame]), Buffer.alloc(16_384, 0x20)],
  ['parts of a first frame', Buffer.concat([upgrade, frame(0x01, '{')]), repeat(frame(0x00, ' '), 200)],
  ['half a request', upgrade.subarray(0, 60), Buffer.from('X-A: b\r\n')],
  ['silence', upgrade, 5_000],
  ['dials', upgrade, 20],
]
const [, , , , , kindName] = process.argv
const chosen = kinds.filter(([name]) => kindName === undefined || name === kindName)
const dials = new Map(chosen.map(([name]) => [name, 0]))
let random = seed
const next = () => {
  random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fffffff
  return random / 0x80000000
}
let isOver = false

function flood() {
  if (isOver) return
  const kind = chosen[Math.floor(next() * chosen.length)]
  if (!kind) return
  const [name, first, then] = kind
  dials.set(name, (dials.get(name) ?? 0) + 1)
  // From many addresses, as one may not take all places.
  const localAddress = `127.0.0.${1 + Math.floor(next() * 250)}`
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  // A closed peer dials again; not at once, so that the flood is in the frames.
  socket.on('close', () => setTimeout(flood, 100 + next() * 400))
  socket.write(first)
  // Nothing is read, so the server's end of the connection is seen at a write only.
  if (typeof then === 'number') return void setTimeout(() => socket.destroy(), then)
  const write = () => {
    if (!isOver) socket.write(then, error => !error && setTimeout(write, 5))
  }
  write()
}

for (let peer = 0; peer < count; peer++) setTimeout(flood, next() * 1_000)
process.stdin.resume().on('end', () => {
  isOver = true
  console.log(JSON.stringify(Object.fromEntries(dials)))
  process.exit()
})
