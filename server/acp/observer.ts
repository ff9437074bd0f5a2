import type { Logger } from '../../shared/values/log.js'
import type { AcpObserver } from './options.js'

/** Returns an observer whose errors are logged and change nothing else. */
export function guardObserver(observer: AcpObserver = {}, logger: Logger): AcpObserver {
  const guarded: Record<string, (...facts: unknown[]) => void> = {}
  for (const name of names) {
    const note: unknown = observer[name]
    if (typeof note !== 'function') continue
    guarded[name] = (...facts) => {
      try {
        note.apply(observer, facts)
      } catch (error) {
        logger.error({ err: error, note: name }, 'an observer failed')
      }
    }
  }
  return guarded as AcpObserver // each function passes on the facts of its name
}

const names = [
  'connectionOpened',
  'connectionEnded',
  'rejected',
  'messagePassed',
  'responseDropped',
  'agentHeld',
] as const satisfies readonly (keyof AcpObserver)[]
