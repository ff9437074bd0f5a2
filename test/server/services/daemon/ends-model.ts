/** The rows of daemons and their interceptions as the contract of the store describes them, for tests with a clock. */
import type {
  AbsentDaemon,
  DaemonInstanceStore,
  DaemonProcess,
  EndStore,
  OpenInterceptionsQuery,
} from '../../../../server/store/store.js'

interface InterceptionRow {
  id: string
  daemonInstance: string | null
  startedAt: Date
  endedAt?: Date
}

interface DaemonRow {
  connectedTo: string | undefined
  lastSeenAt: Date
  isDeclaredGone: boolean
  isSettled: boolean
}

/** A database of daemons and interceptions; all have one key. */
export class EndsModel implements DaemonInstanceStore, EndStore {
  isDown = false
  readonly daemons = new Map<string, DaemonRow>()
  readonly interceptions: InterceptionRow[] = []
  /** called for each interception that is about to be ended */
  onEnd: (row: InterceptionRow) => void = () => {}

  async recordDaemonsPresent(daemons: readonly DaemonProcess[], { server, at }: { server: string; at: Date }) {
    this.#reach(daemons)
    for (const { daemonInstance } of daemons) {
      const known = this.daemons.get(daemonInstance)
      const isDeclaredGone = known?.connectedTo === server && known.isDeclaredGone
      this.daemons.set(daemonInstance, { connectedTo: server, lastSeenAt: at, isDeclaredGone, isSettled: false })
    }
  }

  async recordDaemonsLeft(daemonInstances: readonly string[], { server, at }: { server: string; at: Date }) {
    this.#reach(daemonInstances)
    for (const id of daemonInstances) {
      const row = this.daemons.get(id)
      if (row?.connectedTo === server) Object.assign(row, { connectedTo: undefined, lastSeenAt: at })
    }
  }

  async recordUnnotedDaemons(at: Date) {
    this.#reach()
    for (const { daemonInstance: id } of this.interceptions) {
      if (id !== null && !this.daemons.has(id)) this.daemons.set(id, newRow(at, false))
    }
  }

  async listAbsentDaemons({ notSeenSince, at }: { notSeenSince: Date; at: Date }) {
    this.#reach()
    return [...this.daemons].flatMap(([id, row]) => {
      const isYoung = (time: Date) => time >= notSeenSince && time <= at
      const lives =
        row.lastSeenAt >= notSeenSince ||
        this.interceptions.some(({ daemonInstance, startedAt }) => daemonInstance === id && isYoung(startedAt))
      return row.isSettled || (lives && !row.isDeclaredGone) ? [] : [absent(id, row)]
    })
  }

  async declareDaemonsGone(daemonInstances: readonly string[], { at }: { at: Date }) {
    this.#reach()
    return daemonInstances.flatMap(id => {
      if (!this.interceptions.some(({ daemonInstance }) => daemonInstance === id)) return []
      const row = this.daemons.get(id) ?? newRow(at, true)
      if (row.isSettled) return []
      row.isDeclaredGone = true
      this.daemons.set(id, row)
      return [absent(id, row)]
    })
  }

  async settleDaemon({ daemonInstance, lastSeenAt }: { daemonInstance: string; lastSeenAt: Date }) {
    this.#reach()
    const row = this.daemons.get(daemonInstance)
    if (row?.lastSeenAt.getTime() === lastSeenAt.getTime()) row.isSettled = true
  }

  async forgetDaemons() {
    this.#reach()
    return 0
  }

  async endOpenInterceptions(query: OpenInterceptionsQuery, { at }: { at: Date }) {
    this.#reach()
    const { daemonInstance, startedFrom = new Date(0), startedBefore = new Date(8e15) } = query
    const open = this.interceptions.filter(row => row.daemonInstance === daemonInstance && !row.endedAt)
    const ended = open.filter(({ startedAt }) => startedAt >= startedFrom && startedAt < startedBefore)
    for (const row of ended) {
      this.onEnd(row)
      row.endedAt = at > row.startedAt ? at : row.startedAt
    }
    return { ended: ended.map(({ id }) => ({ id, endedAt: at })), skipped: 0, next: null }
  }

  #reach(rows?: readonly unknown[]): void {
    if (this.isDown && rows?.length !== 0) throw new Error('the database is away')
  }
}

function newRow(at: Date, isDeclaredGone: boolean): DaemonRow {
  return { connectedTo: undefined, lastSeenAt: at, isDeclaredGone, isSettled: false }
}

function absent(daemonInstance: string, row: DaemonRow): AbsentDaemon {
  const { connectedTo, lastSeenAt, isDeclaredGone } = row
  return { daemonInstance, lastSeenAt, isDeclaredGone, isConnected: connectedTo !== undefined }
}
