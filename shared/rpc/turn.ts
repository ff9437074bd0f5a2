/**
 * Runs a function after the event loop had a turn. A browser has no `setImmediate`, and delays its timers by 4 ms, in a
 * hidden page by a second: there a message to this page itself takes the turn.
 * @param immediate Node's `setImmediate`, if there is one
 */
export function afterTurn(run: () => void, immediate: unknown = Reflect.get(globalThis, 'setImmediate')): void {
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

/**
 * Runs a function after the microtasks of the running callback of the event loop; in a browser, which has no such
 * place, in a microtask.
 */
export function afterRun(run: () => void): void {
  const node: unknown = Reflect.get(globalThis, 'process')
  const nextTick: unknown = Reflect.get(Object(node), 'nextTick')
  // Ticks come before microtasks; a tick that a microtask asks for comes behind all of them.
  queueMicrotask(typeof nextTick === 'function' ? () => nextTick(run) : run)
}
