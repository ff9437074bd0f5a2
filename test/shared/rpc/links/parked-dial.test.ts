import { describe, expect, it } from 'vitest'
import { DialError } from '../../../../shared/rpc/dial-error.js'
import type { CloseReason, Duplex } from '../../../../shared/rpc/duplex.js'
import { memoryDuplexPair } from '../../../../shared/rpc/links/memory-duplex.js'
import { ParkedDial } from '../../../../shared/rpc/links/parked-dial.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { peer } from '../../../fixtures/peer.js'

const never = new AbortController().signal

/** Brings one duplex; returns its far end. */
function bring<T>(parked: ParkedDial<T>, facts: T) {
  const [near, far] = memoryDuplexPair()
  ;(parked as ParkedDial<unknown>).bring(near, facts) // the facts are always given
  return peer(far)
}

/** Opens a dialled duplex, as a connection does; `hasLeft` as a connection that moves. */
function take(duplex: Duplex, hasLeft = false) {
  const reasons: CloseReason[] = []
  const messages: unknown[] = []
  duplex.open({ onMessage: message => messages.push(message), onDrain() {}, onClose: r => reasons.push(r), hasLeft })
  return { duplex, reasons, messages }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** A delivery waits for its turn of the event loop, and other files of this thread may have used the time up. */
async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await turn()
}

describe('a parked dial', () => {
  leavesNothing()

  it('a dial gets the duplex that was brought, with the messages that have arrived', async () => {
    const parked = new ParkedDial()
    const far = bring(parked, undefined)
    expect(parked.isConnected).toBe(true)
    far.send({ id: null, method: 'reconnect' })
    await turn()
    const { messages } = take(await parked.dial({ signal: never }))
    await until(() => messages.length > 0)
    expect(messages).toEqual([{ id: null, method: 'reconnect' }])
    parked.close()
    await far.closed
  })

  it('a dial waits for the next duplex, and each dial gets one of its own', async () => {
    const parked = new ParkedDial()
    const [earlier, later] = [parked.dial({ signal: never }), parked.dial({ signal: never })]
    const first = bring(parked, undefined)
    const { duplex } = take(await earlier)
    duplex.close({ code: 1000, message: 'done' })
    await first.closed
    const second = bring(parked, undefined)
    expect(await later).not.toBe(duplex)
    parked.close()
    await second.closed
  })

  it('a duplex that closes before it is dialled is forgotten', async () => {
    const parked = new ParkedDial()
    const [near, far] = memoryDuplexPair()
    parked.bring(near)
    far.open({ onMessage() {}, onDrain() {}, onClose() {} })
    far.terminate({ code: 1006, message: 'gone' })
    await until(() => !parked.isConnected)
    const dialled = parked.dial({ signal: never })
    const next = bring(parked, undefined)
    take(await dialled).duplex.close({ code: 1000, message: 'done' })
    await next.closed
  })

  it.each(['parked', 'taken'])(
    'a %s duplex gives way to a newer one, at once and with the chosen reason',
    async state => {
      const parked = new ParkedDial<string>({
        replaced: (older, newer) =>
          older === newer
            ? { code: 1000, message: 'again' }
            : { code: 4009, message: `${newer} after ${older}`, reason: 'replaced' },
      })
      const first = bring(parked, 'a')
      const taken = state === 'taken' ? take(await parked.dial({ signal: never })) : undefined
      const second = bring(parked, 'a')
      expect(await first.closed).toMatchObject({ code: 1000, message: 'again' })
      if (taken) expect(taken.reasons).toEqual([{ code: 1000, message: 'again' }])
      const third = bring(parked, 'b')
      expect(await second.closed).toMatchObject({ code: 4009, message: 'b after a', reason: 'replaced' })
      const last = take(await parked.dial({ signal: never }))
      last.duplex.send({ id: 1, method: 'query', params: { path: 'x' } })
      expect(await third.until(1)).toMatchObject([{ id: 1 }])
      parked.close()
      await third.closed
    },
  )

  it('a far end that sends more than 16 MiB before a dial is closed with 1008', async () => {
    const parked = new ParkedDial()
    const far = bring(parked, undefined)
    const text = 'x'.repeat(3_000_000)
    for (let id = 1; id <= 6; id++) far.send({ id, result: { data: text } })
    expect(await far.closed).toMatchObject({ code: 1008 })
    await until(() => !parked.isConnected)
  })

  it('a silent far end does not keep its replaced duplex in use', async () => {
    const parked = new ParkedDial()
    const closes: CloseReason[] = []
    // A network that has gone: no close arrives.
    const silent: Duplex = {
      open() {},
      send() {},
      bufferedBytes: 0,
      full: false,
      close: reason => void closes.push(reason),
      terminate() {},
    }
    parked.bring(silent)
    const { reasons } = take(await parked.dial({ signal: never }))
    await turn()
    const next = bring(parked, undefined)
    await turn()
    expect({ reasons: reasons.length, closes: closes.length }).toEqual({ reasons: 1, closes: 1 })
    parked.close()
    await next.closed
  })

  it.each(['before', 'after'])(
    'a duplex that its connection has left for a move stays, and a newer one comes %s the dial',
    async order => {
      const parked = new ParkedDial()
      const old = bring(parked, undefined)
      const { duplex, reasons } = take(await parked.dial({ signal: never }), true)
      const early = order === 'after' ? parked.dial({ signal: never }) : undefined
      const next = bring(parked, undefined)
      expect(await (early ?? parked.dial({ signal: never }))).not.toBe(duplex)
      await turn()
      expect(reasons).toEqual([])
      duplex.send({ id: 1, method: 'query', params: { path: 'x' } })
      await old.until(1)
      duplex.close({ code: 1000, message: 'done' })
      await old.closed
      expect(parked.isConnected).toBe(true)
      parked.close()
      await next.closed
    },
  )

  it('a dial ends with its signal', async () => {
    const parked = new ParkedDial()
    const abort = new AbortController()
    const waiting = parked.dial({ signal: abort.signal })
    abort.abort()
    await expect(waiting).rejects.toMatchObject({ fatal: false })
    await expect(parked.dial({ signal: abort.signal })).rejects.toBeInstanceOf(DialError)
    // The next duplex is for the next dial.
    const far = bring(parked, undefined)
    const { duplex } = take(await parked.dial({ signal: never }))
    duplex.close({ code: 1000, message: 'done' })
    await far.closed
  })

  it.each(['empty', 'parked', 'taken'])(
    'close() of one that is %s is final, and closes with the reason',
    async state => {
      const parked = new ParkedDial()
      const waiting = state === 'empty' ? parked.dial({ signal: never }) : undefined
      const failed = expect(waiting ?? Promise.reject(new DialError('', { fatal: true, reason: 'revoked' }))).rejects
      const far = waiting ? undefined : bring(parked, undefined)
      if (state === 'taken') take(await parked.dial({ signal: never }))
      parked.close({ code: 4001, message: 'the key was revoked', reason: 'revoked' })
      parked.close()
      await failed.toMatchObject({ fatal: true, reason: 'revoked' })
      if (far) expect(await far.closed).toMatchObject({ code: 4001, reason: 'revoked' })
      await expect(parked.dial({ signal: never })).rejects.toMatchObject({ fatal: true, reason: 'revoked' })
      expect(await bring(parked, undefined).closed).toMatchObject({ code: 4001 })
    },
  )

  it('a drain is final for dials, and leaves a taken duplex to the group', async () => {
    const listeners = new Set<() => void>()
    const group = {
      onDrain(listener: () => void) {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
    }
    const [taken, untaken] = [new ParkedDial({ group }), new ParkedDial({ group })]
    const [kept, closed] = [bring(taken, undefined), bring(untaken, undefined)]
    const { duplex, reasons } = take(await taken.dial({ signal: never }))
    for (const listener of listeners) listener()
    expect(await closed.closed).toMatchObject({ code: 1001, reason: 'draining' })
    await expect(taken.dial({ signal: never })).rejects.toMatchObject({ fatal: true, reason: 'draining' })
    expect({ reasons, listeners: listeners.size }).toEqual({ reasons: [], listeners: 0 })
    duplex.close({ code: 1000, message: 'done' })
    await kept.closed
  })
})
