/** The live parts of this process, on a clock of the test. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Episodes } from '../../../../server/services/chats/episodes.js'
import type { Episode, EpisodeEvent } from '../../../../server/services/chats/live-parts.js'
import type { LivePart } from '../../../../server/services/chats/model.js'
import { chatLimits } from '../../../../shared/contract/limits.js'

const at = (historyVersion: number, attempt: number, chatId = 'chat'): Episode => ({ chatId, historyVersion, attempt })
const text = (value: string): LivePart => ({ role: 'assistant', index: 0, part: { type: 'text', text: value } })
const shownOf = (event: EpisodeEvent) =>
  event.kind === 'part' ? `${event.seq} ${Reflect.get(event.part.part, 'text')}` : event.kind

describe('the live parts of this process', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())
  const forever = new AbortController().signal

  /** Reads an episode to its end. */
  async function read(episodes: Episodes, episode: Episode, after = 0, signal = forever) {
    const events: string[] = []
    for await (const event of episodes.follow(episode, after, signal)) events.push(shownOf(event))
    return events
  }

  test('a follower gets the parts behind the one that it has, then the new ones, then the end', async () => {
    const episodes = new Episodes()
    const writer = episodes.begin(at(1, 1))
    for (const value of ['a', 'b', 'c']) writer.add(text(value))
    const read1 = read(episodes, at(1, 1))
    const read2 = read(episodes, at(1, 1), 2)
    await vi.advanceTimersByTimeAsync(0)
    writer.add(text('d'))
    writer.end()
    expect(await read1).toEqual(['1 a', '2 b', '3 c', '4 d', 'ended'])
    expect(await read2).toEqual(['3 c', '4 d', 'ended'])
  })

  test('a follower waits for an episode that has not begun', async () => {
    const episodes = new Episodes()
    const reading = read(episodes, at(1, 2))
    episodes.begin(at(1, 1)).end()
    const writer = episodes.begin(at(1, 2))
    writer.add(text('a'))
    writer.end()
    expect(await reading).toEqual(['1 a', 'ended'])
  })

  test('a follower of an episode that never begins ends with a later one, and with its signal', async () => {
    const episodes = new Episodes()
    const reading = read(episodes, at(1, 1))
    const other = read(episodes, at(3, 1))
    const abort = new AbortController()
    const aborted = read(episodes, at(9, 1), 0, abort.signal)
    episodes.begin(at(2, 1))
    expect(await reading).toEqual([])
    episodes.close()
    expect(await other).toEqual([])
    abort.abort()
    expect(await aborted).toEqual([])
    expect(await read(new Episodes(), at(1, 1), 0, AbortSignal.abort())).toEqual([])
  })

  test('an episode is kept for 15 s behind its end', async () => {
    const episodes = new Episodes()
    const writer = episodes.begin(at(1, 1))
    writer.add(text('a'))
    await vi.advanceTimersByTimeAsync(60_000)
    writer.end()
    await vi.advanceTimersByTimeAsync(chatLimits.episodeKeptMs - 1)
    expect(await read(episodes, at(1, 1))).toEqual(['1 a', 'ended'])
    await vi.advanceTimersByTimeAsync(1)
    expect(episodes.bytes).toBe(0)
  })

  test('an episode is kept while it is followed, and a slow follower holds nobody up', async () => {
    const episodes = new Episodes()
    const writer = episodes.begin(at(1, 1))
    for (const value of ['a', 'b', 'c']) writer.add(text(value))
    const slow = episodes.follow(at(1, 1), 0, forever)
    expect((await slow.next()).value).toMatchObject({ seq: 1 })
    writer.end()
    expect(await read(episodes, at(1, 1))).toEqual(['1 a', '2 b', '3 c', 'ended'])
    await vi.advanceTimersByTimeAsync(chatLimits.episodeKeptMs * 2)
    expect(episodes.bytes).toBeGreaterThan(0)
    const rest: string[] = []
    for await (const event of slow) rest.push(shownOf(event))
    expect(rest).toEqual(['2 b', '3 c', 'ended'])
    expect(episodes.bytes).toBe(0)
  })

  test('a full buffer is a cut, and the parts before it are there', async () => {
    const episodes = new Episodes({ ...chatLimits, episodeBytes: 1_000 })
    const writer = episodes.begin(at(1, 1))
    const reading = read(episodes, at(1, 1))
    for (let times = 0; times < 20; times++) writer.add(text('x'.repeat(50)))
    const events = await reading
    expect(events.length).toBeGreaterThan(2)
    expect(events.length).toBeLessThan(12)
    expect(events.at(-1)).toBe('cut')
    writer.end()
    expect(await read(episodes, at(1, 1))).toEqual(events)
    expect(episodes.bytes).toBeLessThanOrEqual(1_000)
  })

  test('ended episodes make room for others, and running ones do not', async () => {
    const episodes = new Episodes({ ...chatLimits, episodeBytes: 10_000, episodesBytes: 1_000 })
    const first = episodes.begin(at(1, 1, 'first'))
    first.add(text('x'.repeat(500)))
    first.end()
    const second = episodes.begin(at(1, 1, 'second'))
    second.add(text('x'.repeat(500)))
    const third = episodes.begin(at(1, 1, 'third'))
    third.add(text('x'.repeat(500)))
    expect(await read(episodes, at(1, 1, 'third'))).toEqual(['cut'])
    second.end()
    expect((await read(episodes, at(1, 1, 'second'))).at(-1)).toBe('ended')
    expect(episodes.bytes).toBeLessThanOrEqual(1_000)
  })
})
