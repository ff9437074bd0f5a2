import { expect, test } from 'vitest'
import { withData } from '../../../../client/bridge/wire/event-data.js'
import { EventFrames } from '../../../../client/bridge/wire/event-frames.js'

test.each([
  ['event: e\r\nid: 7\r\ndata:  {"a":1} \r\n\r\n', 'event: e\r\nid: 7\r\ndata: [2]\r\n\r\n'],
  ['data:1\n\n', 'data:[2]\n\n'],
  ['data: 1', 'data: [2]'],
  ['data\n\n', 'data: [2]\n\n'],
  ['error: {}\n\n', 'event: error\ndata: [2]\n\n'],
  ['event: e\ndata: {"a":\ndata: 1}\n\n', 'event: e\ndata: [2]\n\n'],
])('other data stands in the same event: %j', (text, expected) => {
  const frames = new EventFrames(1000)
  const [frame] = [...frames.push(Buffer.from(text)), ...frames.end()]
  if (!frame) throw new Error('no frame')
  expect(withData(frame, [Buffer.from('['), Buffer.from('2]')]).toString()).toBe(expected)
})
