/** The streams of many sessions on one connection. */
import { afterEach, expect, test, vi } from 'vitest'
import { HttpStreams } from '../../../../server/acp/http/http-streams.js'
import { startAcp } from '../../../fixtures/acp/acp-server.js'
import { http2, TestClient } from '../../../fixtures/acp/http-client.js'
import { ScriptAgents } from '../../../fixtures/acp/script-agent.js'
import { closeOpened } from '../../../fixtures/leaves-nothing.js'

afterEach(closeOpened)

/** More than `maxStreams` in all, and fewer at once. */
const atOnce = 40

test('1,000 sessions, each opened and closed, leave 0 streams', async () => {
  const ended = vi.spyOn(HttpStreams.prototype, 'endSession')
  const agents = new ScriptAgents()
  const { port } = await startAcp({ agent: agents.connect })
  const client = await TestClient.open(http2(port))
  const own = await client.open()
  const useSession = async (sessionId: string): Promise<void> => {
    const stream = await client.open(sessionId)
    await client.postTo(sessionId, { id: sessionId, method: 'session/close', params: { sessionId } })
    agents.last.answer(await agents.last.next('session/close', sessionId), {})
    expect(await stream.next()).toMatchObject({ data: { id: sessionId, result: {} } })
    expect(await stream.end()).toBe('clean')
  }
  for (let done = 0; done < 1_000; done += atOnce) {
    await Promise.all(Array.from({ length: atOnce }, (_, index) => useSession(`s${done + index}`)))
  }
  const streams = ended.mock.contexts[0] as HttpStreams // a method of this class
  expect({ ended: ended.mock.calls.length, left: streams.sessionStreams }).toEqual({ ended: 1_000, left: 0 })
  ended.mockRestore()
  expect(own.events).toEqual([])
  const others = await Promise.all(Array.from({ length: 63 }, (_, index) => client.open(`t${index}`)))
  expect(new Set(others.map(({ status }) => status))).toEqual(new Set([200]))
  expect(streams.sessionStreams).toBe(63)
})
