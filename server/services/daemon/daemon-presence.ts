import { randomUUID } from 'node:crypto'
import { presence as limits } from '../../../shared/contract/limits.js'
import { abortablePause } from '../../../shared/values/abortable.js'
import type { Logger } from '../../../shared/values/log.js'
import type { DaemonInstanceStore, DaemonProcess } from '../../store/store.js'

/**
 * Notes in the store which daemons are connected to this server: when a daemon comes, when it goes, and every minute
 * meanwhile. The daemons of all servers stand in one table.
 */
export interface DaemonPresence {
  /** Notes a connection of a daemon until the signal aborts. Returns at once and never throws. */
  add(daemon: DaemonProcess, connection: AbortSignal): void
  /** Returns whether a daemon has a connection to this server. */
  isConnected(daemonInstance: string): boolean
  /**
   * Stores that no daemon is connected to this server any more. Resolves when no timer is left, and after two seconds
   * at most: a store that hangs must not keep the server from ending. Without the note the daemons count as connected
   * until their row is old.
   */
  stop(): Promise<void>
}

/** Settings of {@link createDaemonPresence}. */
export interface DaemonPresenceOptions {
  store: Pick<DaemonInstanceStore, 'recordDaemonsPresent' | 'recordDaemonsLeft'>
  logger: Logger
  now?: () => Date
}

/** Creates a {@link DaemonPresence}. A note that fails is logged, and follows some seconds later. */
export function createDaemonPresence({ store, logger, now = () => new Date() }: DaemonPresenceOptions): DaemonPresence {
  /** this process, as the rows name it */
  const server = randomUUID()
  const connected = new Map<string, { daemon: DaemonProcess; connections: number }>()
  /** daemons that came or went since the last write */
  let changed = new Set<string>()
  let writing: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  const stopped = new AbortController()

  function change(daemonInstance: string): void {
    changed.add(daemonInstance)
    writing ??= writeChanges().finally(() => {
      writing = undefined
    })
  }

  /** Runs while there are changes. Daemons that come during a write share the next one. */
  async function writeChanges(): Promise<void> {
    await Promise.resolve()
    while (changed.size > 0) {
      const ids = [...changed]
      changed = new Set()
      const left = ids.filter(id => !connected.has(id))
      try {
        await store.recordDaemonsPresent(daemonsOf(ids), { server, at: now() })
        await store.recordDaemonsLeft(left, { server, at: now() })
      } catch (error) {
        warn(error)
        schedule(limits.retryMs)
      }
    }
  }

  function warn(error: unknown): void {
    logger.warn({ err: error, daemons: connected.size }, 'it could not be stored which daemons are connected')
  }

  function daemonsOf(ids: Iterable<string>): DaemonProcess[] {
    return [...ids].flatMap(id => connected.get(id)?.daemon ?? [])
  }

  async function renew(): Promise<void> {
    await writing
    await store.recordDaemonsPresent(daemonsOf(connected.keys()), { server, at: now() })
  }

  /** Renews once after a time, and then every minute while daemons are connected. */
  function schedule(delayMs: number): void {
    clearTimeout(timer)
    timer = undefined
    if (connected.size === 0 || stopped.signal.aborted) return
    timer = setTimeout(() => {
      timer = undefined
      renew().then(
        () => schedule(limits.renewMs),
        (error: unknown) => {
          warn(error)
          schedule(limits.retryMs)
        },
      )
    }, delayMs).unref()
  }

  function remove(daemonInstance: string): void {
    const entry = connected.get(daemonInstance)
    if (!entry || --entry.connections > 0) return
    connected.delete(daemonInstance)
    change(daemonInstance)
  }

  return {
    add(daemon, connection) {
      if (connection.aborted || stopped.signal.aborted) return
      const { daemonInstance } = daemon
      const entry = connected.get(daemonInstance)
      if (entry) entry.connections++
      else {
        connected.set(daemonInstance, { daemon, connections: 1 })
        change(daemonInstance)
      }
      connection.addEventListener('abort', () => remove(daemonInstance), { once: true })
      if (!timer) schedule(limits.renewMs)
    },
    isConnected: daemonInstance => connected.has(daemonInstance),
    async stop() {
      stopped.abort()
      clearTimeout(timer)
      for (const id of [...connected.keys()]) {
        connected.delete(id)
        change(id)
      }
      const written = new AbortController()
      void writing?.then(() => written.abort())
      if (writing) await abortablePause(limits.stopMs, written.signal)
    },
  }
}
