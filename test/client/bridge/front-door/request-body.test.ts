/** The memory of request bodies, and what an error says of a body. */
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { BodyMemory } from '../../../../client/bridge/front-door/body-memory.js'
import { readBody, readContent } from '../../../../client/bridge/front-door/request-body.js'
import { Turns } from '../../../../client/bridge/front-door/turns.js'

const turn = () => new Promise(setImmediate)

test('a body that goes on after an abort takes no memory', async () => {
  const memory = new BodyMemory(1_000)
  const share = memory.share()
  const abort = new AbortController()
  const request = new IncomingMessage(new Socket())
  const reading = readBody(request, 1_000, share, abort.signal)
  request.push(Buffer.alloc(100))
  await turn()
  expect(memory.bytes).toBe(100)
  abort.abort(new Error('closing'))
  await expect(reading).rejects.toThrow('closing')
  share.release()
  request.push(Buffer.alloc(100))
  await turn()
  expect([memory.bytes, request.readableLength]).toEqual([0, 0])
})

test('an aborted signal ends the read of a body before its first byte', async () => {
  const request = new IncomingMessage(new Socket())
  const share = new BodyMemory(1_000).share()
  await expect(readBody(request, 1_000, share, AbortSignal.abort(new Error('closing')))).rejects.toThrow('closing')
})

test.each([
  'MARKED words of a user',
  '"MARKED words of a user',
  '{"model":"MARKED words',
  '{"messages":[{"content":MARKED}]}',
  '{"a":1} MARKED',
  '[MARKED]',
  'nullMARKED',
])('the error of a body that is not JSON quotes nothing of %s', async text => {
  const reading = readContent(Buffer.from(text), [], 1_000, new BodyMemory(1_000).share())
  const error: unknown = await reading.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toMatchObject({ status: 400, message: expect.stringContaining('is not JSON') })
  expect(JSON.stringify([String(error), error])).not.toMatch(/MA|ARK|D wor/)
})

describe('turns', () => {
  /** Begins work that ends by hand. */
  function work(turns: Turns, signal: AbortSignal, log: string[], name: string) {
    const end: { resolve: () => void; reject: (error: Error) => void } = { resolve: () => {}, reject: () => {} }
    const done = turns.run(signal, () => {
      log.push(name)
      return new Promise<void>((resolve, reject) => Object.assign(end, { resolve, reject }))
    })
    return { done, end }
  }

  test('no more work than the bound runs at once, in the order of arrival', async () => {
    const turns = new Turns(2)
    const log: string[] = []
    const { signal } = new AbortController()
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(name => work(turns, signal, log, name))
    await turn()
    expect(log).toEqual(['a', 'b'])
    b?.end.reject(new Error('no'))
    await expect(b?.done).rejects.toThrow('no')
    await turn()
    expect(log).toEqual(['a', 'b', 'c'])
    a?.end.resolve()
    await turn()
    expect(log).toEqual(['a', 'b', 'c', 'd'])
    for (const one of [c, d]) one?.end.resolve()
    await Promise.all([a, c, d].map(one => one?.done))
  })

  test('work whose signal aborts gives its place in the queue to the next', async () => {
    const turns = new Turns(1)
    const log: string[] = []
    const abort = new AbortController()
    const { signal } = new AbortController()
    const first = work(turns, signal, log, 'first')
    const left = work(turns, abort.signal, log, 'left')
    const next = work(turns, signal, log, 'next')
    abort.abort(new Error('gone'))
    await expect(left.done).rejects.toThrow('gone')
    first.end.resolve()
    await turn()
    expect(log).toEqual(['first', 'next'])
    next.end.resolve()
    await Promise.all([first.done, next.done])
    const late = work(turns, abort.signal, log, 'late')
    await turn()
    late.end.resolve()
    await late.done
  })
})
