/** The memory cost of reading a response. The other tests of Inspection are in streams.test.ts. */
import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { openaiChat } from '../../../../client/bridge/providers/responses/openai-chat.js'
import { Inspection } from '../../../../client/bridge/recording/inspection.js'
import { memoryLogger } from '../running-bridge.js'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

function inspect(headers: string[], maxBytes: number) {
  const { logger, lines } = memoryLogger()
  const reader = openaiChat.createResponseReader()
  const inspection = new Inspection({ head: { status: 200, statusText: '', headers }, reader, maxBytes, logger })
  return { inspection, lines }
}

test('no byte is kept of a body that is too large to be read', async () => {
  const { inspection, lines } = inspect(['content-type', 'application/json'], 1_000)
  const write = (text: string): WeakRef<Buffer> => {
    const chunk = Buffer.alloc(600, text)
    inspection.write(chunk)
    return new WeakRef(chunk)
  }
  const chunks = [write('{'), write('x'), write('x')]
  // The target of a WeakRef is kept until the end of the turn.
  await new Promise(resolve => setImmediate(resolve))
  collectGarbage()
  expect(chunks.map(chunk => chunk.deref())).toEqual([undefined, undefined, undefined])
  expect((await inspection.end()).usage).toBeUndefined()
  expect(lines).toMatchObject([{ level: 'warn', fields: { bytes: 1_800, maxBytes: 1_000 } }])
})

test('reading a response that arrives faster than it can be decompressed is given up, and ends', async () => {
  const { inspection, lines } = inspect(['content-type', 'text/event-stream', 'content-encoding', 'gzip'], 1_000)
  const compressed = gzipSync(randomBytes(5_000))
  for (let at = 0; at < compressed.length; at += 500) inspection.write(compressed.subarray(at, at + 500))
  await inspection.end()
  expect(lines.map(({ message }) => message)).toEqual([
    'a response arrived faster than it could be decompressed; the rest is not recorded',
  ])
})
