/** The subscription of a watcher to live parts, on a clock of the test. */
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { EpisodeEvent, LiveParts } from '../../../../../server/services/chats/live-parts.js'
import { PartFollower } from '../../../../../server/services/chats/watch/part-follower.js'
import type { FollowTarget } from '../../../../../server/services/chats/watch/watcher-state.js'
import { silentLogger } from '../../../../fixtures/stores.js'

const targetOf = (attempt: number): FollowTarget => ({
  runner: randomUUID(),
  episode: { chatId: 'chat', historyVersion: 1, attempt },
  after: 0,
})

/** A watcher that follows a target until the test says otherwise, and the times of its looks at the server. */
function following(livePartsOf: () => LiveParts | undefined) {
  const looks: number[] = []
  let target: FollowTarget | undefined
  const follower: PartFollower = new PartFollower({
    livePartsOf: () => {
      looks.push(Date.now())
      return livePartsOf()
    },
    logger: silentLogger,
    wake: () => {
      follower.aim(target)
      while (follower.take());
    },
  })
  return {
    follower,
    aim(next: FollowTarget | undefined) {
      target = next
      follower.aim(target)
    },
    /** the pauses between the looks since the last call */
    pauses() {
      const times = looks.splice(0)
      return times.slice(1).map((time, n) => time - (times[n] ?? 0))
    },
  }
}

const growing = [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]

describe('following live parts', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test.each<[string, () => LiveParts | undefined]>([
    ['cannot be reached', () => undefined],
    ['keeps no parts', () => ({ async *follow() {} })],
    [
      'fails',
      () => ({
        // biome-ignore lint/correctness/useYield: it fails before its first event
        async *follow() {
          throw new Error('no connection')
        },
      }),
    ],
  ])('a server that %s is asked less and less, and every five seconds at last', async (_, livePartsOf) => {
    const { follower, aim, pauses } = following(livePartsOf)
    aim(targetOf(1))
    await vi.advanceTimersByTimeAsync(17_000)
    expect(pauses()).toEqual(growing)
    follower.stop()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('another attempt is followed at once, and its pauses begin anew', async () => {
    const { follower, aim, pauses } = following(() => undefined)
    aim(targetOf(1))
    await vi.advanceTimersByTimeAsync(10_000)
    pauses()
    aim(targetOf(2))
    await vi.advanceTimersByTimeAsync(400)
    expect(pauses()).toEqual([50, 100, 200])
    aim(undefined)
    expect(vi.getTimerCount()).toBe(0)
    follower.stop()
  })

  test('the pauses begin anew behind an event', async () => {
    const event: EpisodeEvent = {
      kind: 'part',
      seq: 1,
      part: { role: 'assistant', index: 0, part: { type: 'text', text: 'a' } },
    }
    let isReached = false
    const { follower, aim, pauses } = following(() => ({
      async *follow() {
        if (isReached) yield event
        isReached = false
      },
    }))
    aim(targetOf(1))
    await vi.advanceTimersByTimeAsync(12_000)
    expect(pauses().at(-1)).toBe(5_000)
    isReached = true
    await vi.advanceTimersByTimeAsync(5_000)
    expect(pauses()).toEqual([50, 100, 200])
    follower.stop()
  })
})
