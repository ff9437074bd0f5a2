/**
 * Starts a timer that does not keep the process alive, in Node and in a browser.
 * @param start `setTimeout` of another clock than that of this moment
 */
export function backgroundTimer(run: () => void, delayMs: number, start = setTimeout): NodeJS.Timeout {
  const timer = start(run, delayMs)
  // A browser's timer is a number, and keeps nothing alive.
  if (typeof timer === 'object') timer.unref()
  return timer
}
