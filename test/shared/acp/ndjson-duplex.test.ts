import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type NdjsonOptions, ndjsonDuplex } from '../../../shared/acp/ndjson-duplex.js'
import type { CloseReason, Message } from '../../../shared/rpc/duplex.js'

function duplexOf(options: NdjsonOptions = {}) {
  const input = new PassThrough()
  const output = new PassThrough()
  const invalid: Error[] = []
  const duplex = ndjsonDuplex(input, output, { onInvalidLine: error => invalid.push(error), ...options })
  const messages: Message[] = []
  const closes: CloseReason[] = []
  let drains = 0
  duplex.open({
    onMessage: message => messages.push(message),
    onDrain: () => void drains++,
    onClose: reason => closes.push(reason),
  })
  return { duplex, input, output, invalid, messages, closes, drains: () => drains }
}

const turn = () => new Promise(resolve => setImmediate(resolve))
const one = { jsonrpc: '2.0', id: 0, method: 'a' }
const two = { jsonrpc: '2.0', id: '1', result: 'grün 🟢' }

test('messages arrive whole and in order, whatever the pieces are', async () => {
  const bytes = Buffer.from(`${JSON.stringify(one)}\n\r\n${JSON.stringify(two)}\r\n\n${JSON.stringify(one)}\n`)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length)), async cuts => {
      const { input, messages, invalid } = duplexOf()
      await turn()
      const places = [0, ...cuts.sort((a, b) => a - b), bytes.length]
      for (const [index, start] of places.entries()) input.write(bytes.subarray(start, places[index + 1] ?? start))
      await turn()
      expect({ messages, invalid }).toEqual({ messages: [one, two, one], invalid: [] })
    }),
    { numRuns: 50 },
  )
})

test('a message is one line', () => {
  const { duplex, output } = duplexOf()
  duplex.send({ jsonrpc: '2.0', method: 'a', params: { text: 'one\ntwo' } })
  expect(String(output.read())).toBe('{"jsonrpc":"2.0","method":"a","params":{"text":"one\\ntwo"}}\n')
})

test('lines that are no messages are reported and skipped', async () => {
  const { input, messages, invalid, closes } = duplexOf()
  await turn()
  input.write(Buffer.concat([Buffer.from('starting …\n[]\n{}\n'), Buffer.of(34, 0xff, 34, 10)]))
  input.write(`${JSON.stringify(one)}\n`)
  await turn()
  expect(invalid.map(error => Reflect.get(error, 'reason'))).toEqual([
    'parse_error',
    'batch_unsupported',
    'invalid_request',
    'parse_error',
  ])
  expect({ messages, closes }).toEqual({ messages: [one], closes: [] })
})

test('an endless line closes the duplex, and the error names the limit', async () => {
  const { input, closes, output } = duplexOf({ maxMessageBytes: 1_000 })
  await turn()
  for (let count = 0; count < 3; count++) input.write('x'.repeat(400))
  await turn()
  expect(closes).toEqual([
    expect.objectContaining({ code: 1009, message: 'a line is longer than maxMessageBytes 1,000' }),
  ])
  expect(output.writableEnded).toBe(true)
})

test('a message above the limit is not sent, and the duplex goes on', () => {
  const { duplex, output } = duplexOf({ maxMessageBytes: 100 })
  expect(() => duplex.send({ ...one, params: { text: 'x'.repeat(100) } })).toThrow(
    expect.objectContaining({ reason: 'message_too_large' }),
  )
  duplex.send(one)
  expect(String(output.read())).toBe(`${JSON.stringify(one)}\n`)
})

test('the duplex is full while the far end reads nothing, and drains', async () => {
  const { duplex, output, drains } = duplexOf({ highWaterMarkBytes: 30_000 })
  for (let count = 0; count < 10; count++) duplex.send({ ...one, params: { text: 'x'.repeat(10_000) } })
  expect({ full: duplex.full, drains: drains() }).toEqual({ full: true, drains: 0 })
  output.resume()
  await expect.poll(drains).toBe(1)
  expect({ full: duplex.full, bytes: duplex.bufferedBytes }).toEqual({ full: false, bytes: 0 })
})

test('the end of the input closes the duplex behind its messages, and ends the output', async () => {
  const { input, closes, messages, output, duplex } = duplexOf()
  await turn()
  input.end(`${JSON.stringify(one)}\n{"half`)
  await expect.poll(() => closes).toEqual([{ code: 1000, message: 'the far end has ended its output' }])
  expect({ messages, ended: output.writableEnded }).toEqual({ messages: [one], ended: true })
  duplex.send(one)
  expect(duplex.droppedMessages).toBe(1)
})

test('a broken output closes the duplex', async () => {
  const { output, closes } = duplexOf()
  await turn()
  output.destroy(new Error('EPIPE'))
  await expect.poll(() => closes).toEqual([{ code: 1006, message: expect.stringContaining('EPIPE') }])
})

test('a paused duplex delivers nothing until it is resumed', async () => {
  const { duplex, input, messages } = duplexOf()
  await turn()
  duplex.pauseReading?.()
  input.write(`${JSON.stringify(one)}\n`)
  await turn()
  expect(messages).toEqual([])
  duplex.resumeReading?.()
  await expect.poll(() => messages).toEqual([one])
})
