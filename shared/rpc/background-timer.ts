/** Starts a timer that does not keep the process alive, in Node and in a browser. */
export function backgroundTimer(run: () => void, delayMs: number): NodeJS.Timeout {
  const timer = setTimeout(run, delayMs)
  // A browser's timer is a number, and keeps nothing alive.
  if (typeof timer === 'object') timer.unref()
  return timer
}
