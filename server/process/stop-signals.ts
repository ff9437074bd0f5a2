/** The causes that stop a process: signals and faults. */
import type { Logger as PinoLogger } from 'pino'

/** A process in an unknown state gets only the time to store its records. */
export const faultGraceMs = 5_000

/**
 * `signal`: a person or a supervisor stops the process. `fault`: an uncaught exception, or the end of a part without
 * which the process cannot go on.
 */
export interface StopCause {
  kind: 'signal' | 'fault'
  /** the signal's or the event's name */
  name: string
}

/** The first cause to stop. */
export interface StopSignal {
  /** undefined until the first cause */
  readonly cause: StopCause | undefined
  readonly requested: Promise<StopCause>
  /** Logs a fault and stops the process for it; a process that is stopping already ends at once with 1. */
  fault(name: string, message: string, error: unknown): void
}

/**
 * Watches for SIGINT, SIGTERM, SIGHUP and for uncaught exceptions, from now until the process ends. The first of them
 * is the cause to stop. A second signal ends the process at once with 130, a second fault with 1.
 */
export function watchStopSignals(logger: PinoLogger): StopSignal {
  let cause: StopCause | undefined
  let request: (cause: StopCause) => void = () => {}
  const requested = new Promise<StopCause>(resolve => {
    request = resolve
  })
  const stop = (next: StopCause) => {
    cause = next
    request(next)
  }
  watchSignals({
    isStopping: () => cause !== undefined,
    onFirst: name => stop({ kind: 'signal', name }),
  })
  const fault = (name: string, message: string, error: unknown) => {
    logger.fatal({ err: error }, message)
    if (cause) process.exit(1)
    stop({ kind: 'fault', name })
  }
  for (const event of ['uncaughtException', 'unhandledRejection']) {
    process.on(event, (error: unknown) => {
      fault(event, `${event}: a fault of aibridge; it stores its records and ends`, error)
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
 * Runs work that must not break off in the middle. The first SIGINT, SIGTERM or SIGHUP is reported, and the work goes
 * on to the end. A second signal ends the process at once with 130.
 */
export async function finishDespiteSignals<T>(work: () => Promise<T>, onFirst: (name: string) => void): Promise<T> {
  let isStopping = false
  const unwatch = watchSignals({
    isStopping: () => isStopping,
    onFirst(name) {
      isStopping = true
      onFirst(name)
    },
  })
  try {
    return await work()
  } finally {
    unwatch()
  }
}

/**
 * Reports the first signal, and ends a stopping process with 130 at the next one. Returns a function that ends the
 * watch.
 */
function watchSignals({ isStopping, onFirst }: { isStopping: () => boolean; onFirst: (name: string) => void }) {
  let firstAt = 0
  const onSignal = (name: string) => {
    if (isStopping()) {
      if (!isRepeatedByNpm(performance.now() - firstAt)) process.exit(130)
      return
    }
    firstAt = performance.now()
    onFirst(name)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, onSignal)
  return () => {
    for (const signal of signals) process.off(signal, onSignal)
  }
}

/**
 * Ctrl-C under `npm start` and `npx` arrives twice: from the terminal, and within a few milliseconds from npm, which
 * passes on its own signal (measured with npm 11 where the shell has given way to its last command).
 */
function isRepeatedByNpm(elapsedMs: number): boolean {
  const event = process.env.npm_lifecycle_event
  return (event === 'start' || event === 'npx') && elapsedMs < 100
}
