import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Guess, KeyGuesses, type KeyGuessesOptions } from '../../../shared/values/key-guesses.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const never = new AbortController().signal

/** Tries a wrong key. Resolves with the time until its rejection; undefined if it was not looked at. */
async function tryWrong(guesses: KeyGuesses, address = '192.0.2.1'): Promise<number | undefined> {
  const guess = await guesses.begin(address, never)
  const startedAt = performance.now()
  await guess?.reject(never)
  return guess && performance.now() - startedAt
}

async function delays(guesses: KeyGuesses, address: string, count: number): Promise<(number | undefined)[]> {
  const all: (number | undefined)[] = []
  for (let key = 0; key < count; key++) {
    const tried = tryWrong(guesses, address)
    await vi.runAllTimersAsync()
    all.push(await tried)
  }
  return all
}

const start = (options: Partial<KeyGuessesOptions> = {}) => new KeyGuesses({ maxDelayMs: 1_000, ...options })

test('the first wrong key of an address is rejected at once, each further one later, up to a limit', async () => {
  const guesses = start()
  expect(await delays(guesses, '192.0.2.1', 8)).toEqual([0, 50, 100, 200, 400, 800, 1_000, 1_000])
  expect(await delays(guesses, '192.0.2.2', 1)).toEqual([0])
})

test('of 1,000 wrong keys at once only 64 are looked at, and 64 more in each further second', async () => {
  const guesses = start()
  let looked = 0
  const tried = Array.from({ length: 1_000 }, async () => {
    const { signal } = new AbortController()
    const guess = await guesses.begin('192.0.2.1', signal)
    if (guess) looked++
    await guess?.reject(signal)
    return guess !== undefined
  })
  await vi.advanceTimersByTimeAsync(0)
  expect(looked).toBe(65) // the first one is rejected at once
  await vi.advanceTimersByTimeAsync(999)
  expect(looked).toBeLessThan(80)
  await vi.runAllTimersAsync()
  expect((await Promise.all(tried)).filter(Boolean).length).toBe(looked)
  expect(looked).toBeLessThan(2 * 65 + 64)
  expect(vi.getTimerCount()).toBe(0)
})

test('a good key gets its turn at once beside wrong ones, and behind the first place that is free', async () => {
  const guesses = start({ maxAtOnce: 2 })
  const first = await guesses.begin('192.0.2.1', never)
  void first?.reject(never)
  await tryWrong(start())
  const good = await guesses.begin('192.0.2.1', never)
  expect(good).toBeDefined()
  const wrong = await guesses.begin('192.0.2.1', never)
  const waiting = guesses.begin('192.0.2.1', never)
  void wrong?.reject(never)
  good?.release()
  expect(await waiting).toBeDefined()
})

test('a place whose key left, timed out or was released twice is not lost and not doubled', async () => {
  const guesses = start({ maxAtOnce: 1 })
  const first = await guesses.begin('a', never)
  const abort = new AbortController()
  const left = guesses.begin('a', abort.signal)
  const late = guesses.begin('a', never)
  abort.abort(new Error('gone'))
  await expect(left).rejects.toThrow('gone')
  await vi.advanceTimersByTimeAsync(1_000)
  expect(await late).toBeUndefined()
  const next = guesses.begin('a', never)
  const behind = guesses.begin('a', never)
  first?.release()
  first?.release()
  const held: Guess | undefined = await next
  expect(held).toBeDefined()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(await behind).toBeUndefined()
  held?.release()
  expect(await guesses.begin('a', never)).toBeDefined()
})

test('a queue above its length is not joined', async () => {
  const guesses = start({ maxAtOnce: 1, maxWaiting: 1 })
  await guesses.begin('a', never)
  void guesses.begin('a', never)
  expect(await guesses.begin('a', never)).toBeUndefined()
})

test('an address that stops is forgotten, and memory is bounded', async () => {
  const guesses = start({ maxAddresses: 10, forgetAfterMs: 1_000 })
  for (let number = 0; number < 100; number++) await tryWrong(guesses, `10.0.0.${number}`)
  expect(guesses.size).toBe(10)
  expect(await delays(guesses, '10.0.0.99', 1)).toEqual([50])
  await vi.advanceTimersByTimeAsync(1_000)
  expect(await delays(guesses, '10.0.0.99', 1)).toEqual([0])
  expect(guesses.size).toBe(1)
})

test.each([
  ['2001:db8:0:1::1', '2001:db8:0:1:ffff::2', true],
  ['2001:db8::1', '2001:db8:0:0:1::', true],
  ['2001:db8::1', '2001:0DB8:0000::1', true],
  ['::1', '::2', true],
  ['2001:db8:0:1::1', '2001:db8:0:2::1', false],
  ['10.0.0.1', '10.0.0.2', false],
])('%s and %s: one client is %s', async (one, other, isSame) => {
  const guesses = start()
  await tryWrong(guesses, one)
  const [delay = 0] = await delays(guesses, other, 1)
  expect(delay > 0).toBe(isSame)
})
