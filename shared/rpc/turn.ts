/**
 * Runs a function after the event loop had a turn. A browser has no `setImmediate`, and delays its timers by 4 ms, in a
 * hidden page by a second: there a message to this page itself takes the turn.
 */
export function afterTurn(run: () => void): void {
  const immediate: unknown = Reflect.get(globalThis, 'setImmediate')
  if (typeof immediate === 'function') {
    immediate(run)
    return
  }
  const { port1, port2 } = new MessageChannel()
  const onMessage = (): void => {
    port1.close()
    run()
  }
  port1.addEventListener('message', onMessage, { once: true })
  port1.start()
  port2.postMessage(null)
}
