/** The browser's dial: everything before the WebSocket is open. */
import { describe, expect, it, vi } from 'vitest'
import { createBridgeClient } from '../../../../client/browser/bridge-client.js'
import { dialWith, type WebSocketDialOptions, webSocketDial } from '../../../../client/rpc/browser/websocket.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { gate } from '../../../fixtures/peer.js'
import { ScriptedSocket } from './scripted-socket.js'

function start(options: Partial<WebSocketDialOptions> = {}, controller = new AbortController()) {
  const sockets: (ScriptedSocket & { url: string })[] = []
  class Socket extends ScriptedSocket {
    readonly url: string
    constructor(url: string) {
      super()
      this.url = url
      sockets.push(this)
    }
  }
  const dialled = dialWith(() => Socket, { url: 'wss://a.test/rpc?version=1.0', ...options })({
    signal: controller.signal,
  })
  dialled.catch(() => {})
  const [socket] = sockets
  if (!socket) throw new Error('no socket was made')
  return { dialled, socket }
}

describe('a dial in a browser', () => {
  leavesNothing()

  it('announces parameters in the URL and sends them before any other message', async () => {
    const { dialled, socket } = start({ connectionParams: { authorization: 'Bearer KEY' } })
    expect(socket.url).toBe('wss://a.test/rpc?version=1.0&batch=1&connectionParams=1')
    socket.onopen?.()
    const duplex = await dialled
    duplex.send({ id: 1 })
    await Promise.resolve()
    expect(socket.sent).toEqual(['{"method":"connectionParams","data":{"authorization":"Bearer KEY"}}', '{"id":1}'])
    duplex.terminate({ code: 1000, message: 'the test is over' })
  })

  it('a socket that closes before it opens is an error after which the client dials again', async () => {
    const { dialled, socket } = start()
    socket.onclose?.({ code: 1006, reason: '' })
    await expect(dialled).rejects.toMatchObject({ name: 'DialError', fatal: false, message: /did not open \(1006\)/ })
  })

  it('a socket that never opens is given up after connectTimeoutMs', async () => {
    const { dialled, socket } = start({ connectTimeoutMs: 1 })
    await expect(dialled).rejects.toMatchObject({ fatal: false, message: 'no response within connectTimeoutMs 1' })
    expect(socket.closes).toHaveLength(1)
  })

  it('a cancelled dial closes its socket; a dial that is cancelled before opens none', async () => {
    const controller = new AbortController()
    const { dialled, socket } = start({}, controller)
    controller.abort()
    await expect(dialled).rejects.toThrow('the dial was cancelled')
    expect(socket.closes).toHaveLength(1)
    const made = vi.fn()
    await expect(dialWith(made, { url: 'ws://a.test' })({ signal: controller.signal })).rejects.toThrow('cancelled')
    expect(made).not.toHaveBeenCalled()
  })

  it.each([
    [
      'a browser that rejects the URL',
      class {
        constructor(url: string) {
          throw new DOMException(`mixed content: ${url}`, 'SecurityError')
        }
      },
    ],
    ['a platform without WebSockets', undefined],
  ])('%s stops the client, without the URL in the message', async (_name, Socket) => {
    const dialled = dialWith(() => Socket as never, { url: 'ws://a.test/rpc?secret' })({
      signal: new AbortController().signal,
    }) // no class at all
    await expect(dialled).rejects.toMatchObject({ fatal: true, reason: 'config_invalid' })
    await expect(dialled).rejects.not.toThrow('secret')
  })

  it('messages that arrive with the opening are kept', async () => {
    const { dialled, socket } = start()
    socket.onopen?.()
    socket.receive({ early: true })
    const duplex = await dialled
    const received = gate<unknown>()
    duplex.open({ onMessage: received.open, onDrain() {}, onClose() {} })
    expect(await received.passed).toEqual({ early: true })
    duplex.terminate({ code: 1000, message: 'the test is over' })
  })

  it.each([
    [{ url: 'https://a.test' }, 'it must begin with ws:// or wss://'],
    [{ url: 'ws://user:pw@a.test' }, 'credentials'],
    [{ url: 'ws://a.test', connectTimeoutMs: Number.NaN }, 'connectTimeoutMs'],
    [{ url: 'ws://a.test', pingIntervalMs: 0 }, 'pingIntervalMs'],
    [{ url: 'ws://a.test', headers: { authorization: 'Bearer KEY' } }, 'connectionParams'],
    [{ url: 'wss://a.test', tls: {} }, 'tls'],
  ])('%o is rejected at once', (options, problem) => {
    expect(() => webSocketDial(options)).toThrow(expect.objectContaining({ reason: 'config_invalid' }))
    expect(() => webSocketDial(options)).toThrow(problem)
  })

  it.each([
    [{ url: 'ws://a.test', key: 'KEY' }, 'http://'],
    [{ url: 'http://a.test', key: 'K EY' }, 'printable'],
    [{ url: 'http://a.test', key: 'KEY', buildVersion: '1' }, 'buildVersion'],
    [{ url: 'http://a.test', key: 'KEY', tls: {} }, 'tls'],
  ])('a client of the control plane rejects %o at once', (options, problem) => {
    expect(() => createBridgeClient(options)).toThrow(expect.objectContaining({ reason: 'config_invalid' }))
    expect(() => createBridgeClient(options)).toThrow(problem)
  })
})
