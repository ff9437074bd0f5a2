/** When a server has to stop, and why. */
import type { Logger as PinoLogger } from 'pino'

/** A process in an unknown state gets no more than the time to store its records. */
export const faultGraceMs = 5_000

/** `signal`: somebody wants it to end. `fault`: an exception that nothing caught, or a part without which it cannot go on has ended. */
export interface StopCause {
  kind: 'signal' | 'fault'
  /** the signal's or the event's name */
  name: string
}

/** The first reason to stop. */
export interface StopSignal {
  /** undefined until there is one */
  readonly cause: StopCause | undefined
  readonly requested: Promise<StopCause>
  /** Logs a fault and stops the process for it; one that is stopping already ends at once with 1. */
  fault(name: string, message: string, error: unknown): void
}

/**
 * Watches for SIGINT, SIGTERM, SIGHUP and for exceptions that nothing caught, from now until the process ends. The first is the cause to
 * stop. A second signal ends the process at once with 130, a second fault with 1.
 */
export function watchStopSignals(logger: PinoLogger): StopSignal {
  let cause: StopCause | undefined
  let requestedAt = 0
  let request: (cause: StopCause) => void = () => {}
  const requested = new Promise<StopCause>(resolve => {
    request = resolve
  })
  const stop = (next: StopCause) => {
    cause = next
    requestedAt = performance.now()
    request(next)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (!cause) stop({ kind: 'signal', name: signal })
      else if (!isRepeatedByNpm(performance.now() - requestedAt)) process.exit(130)
    })
  }
  const fault = (name: string, message: string, error: unknown) => {
    logger.fatal({ err: error }, message)
    if (cause) process.exit(1)
    stop({ kind: 'fault', name })
  }
  for (const event of ['uncaughtException', 'unhandledRejection']) {
    process.on(event, (error: unknown) => {
      fault(event, `${event}: a fault of aibridge; it stores what it has recorded and ends`, error)
    })
  }
  return {
    get cause() {
      return cause
    },
    requested,
    fault,
  }
}

/**
 * Ctrl-C under `npm start` and `npx` arrives twice: from the terminal, and within a few milliseconds from npm, which passes on what it
 * got itself (measured with npm 11 where the shell has given way to its last command).
 */
function isRepeatedByNpm(elapsedMs: number): boolean {
  const event = process.env.npm_lifecycle_event
  return (event === 'start' || event === 'npx') && elapsedMs < 100
}
