/** Who gets memory for a body while others hold theirs. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BodyMemory } from '../../../../../client/bridge/front-door/body/body-memory.js'

const mib = 1024 * 1024
const total = 64 * mib

/** Returns whether a body of `bytes` finds room. */
function fits(memory: BodyMemory, owner: string, bytes: number): boolean {
  try {
    memory.share(owner).take(bytes)
    return true
  } catch (error) {
    expect(error).toMatchObject({ status: 503, reason: 'memory_full', retryAfterSeconds: 1 })
    return false
  }
}

test.each<[name: string, held: [owner: string, bytes: number][], asked: [owner: string, bytes: number], fits: boolean]>(
  [
    ['a body that is alone takes all', [], ['ann', 64 * mib], true],
    ['no body is larger than all', [], ['ann', 64 * mib + 1], false],
    [
      'large bodies leave an eighth',
      [
        ['ann', 32 * mib],
        ['bob', 20 * mib],
      ],
      ['eve', 5 * mib],
      false,
    ],
    [
      'a small body finds room beside large ones',
      [
        ['ann', 32 * mib],
        ['bob', 24 * mib],
      ],
      ['eve', mib],
      true,
    ],
    ['a small body of the same owner as large ones waits', [['ann', 32 * mib]], ['ann', mib], false],
    ['an owner takes a half', [['ann', 16 * mib]], ['ann', 16 * mib], true],
    ['an owner takes no more than a half', [['ann', 16 * mib]], ['ann', 16 * mib + 1], false],
    ['another owner gets the other half', [['ann', 32 * mib]], ['bob', 24 * mib], true],
    [
      'small bodies take all that is left',
      [
        ['ann', 32 * mib],
        ['bob', 24 * mib],
        ['eve', 7 * mib],
      ],
      ['joe', mib],
      false,
    ],
  ],
)('%s', (_, held, [owner, bytes], expected) => {
  const memory = new BodyMemory(total)
  for (const [owner, bytes] of held) {
    // As bodies of a MiB and less, where the row is about small ones.
    if (bytes === 7 * mib) for (let body = 0; body < 8; body++) memory.share(`${owner}${body}`).take(mib)
    else memory.share(owner).take(bytes)
  }
  expect(fits(memory, owner, bytes)).toBe(expected)
})

test('a rejected body takes nothing, and a released one leaves nothing', () => {
  const memory = new BodyMemory(total)
  const share = memory.share('ann')
  share.take(10)
  expect(() => share.take(total)).toThrow('maxTotalBodyBytes')
  expect([memory.bytes, memory.owners]).toEqual([10, 1])
  share.release(4)
  expect(memory.bytes).toBe(6)
  share.release()
  share.release()
  expect([memory.bytes, memory.owners]).toEqual([0, 0])
})

test('after any sequence the bound holds, and nothing is left when all is released', () => {
  const step = fc.record({
    share: fc.nat(9),
    bytes: fc.oneof(fc.nat(2 * mib), fc.nat(total)),
    isRelease: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const memory = new BodyMemory(total)
      const shares = Array.from({ length: 10 }, (_, number) => memory.share(`owner ${number % 3}`))
      for (const { share, bytes, isRelease } of steps) {
        try {
          if (isRelease) shares[share]?.release(bytes)
          else shares[share]?.take(bytes)
        } catch {
          // Rejected: the bound is the subject.
        }
        expect(memory.bytes).toBeLessThanOrEqual(total)
        expect(memory.bytes).toBeGreaterThanOrEqual(0)
      }
      for (const share of shares) share.release()
      expect([memory.bytes, memory.owners]).toEqual([0, 0])
      expect(fits(memory, 'any', total)).toBe(true)
    }),
    { numRuns: 100 },
  )
})
