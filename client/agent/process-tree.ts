import { readdir, readFile } from 'node:fs/promises'

/** A signal that ends processes. */
export type EndSignal = 'SIGTERM' | 'SIGKILL'

/** A line of the system's table of processes. `startTime` tells a process from a later one with the same id. */
interface SystemProcess {
  pid: number
  parent: number
  group: number
  session: number
  startTime: string
}

/**
 * A command's processes: the group of the shell that leads it, and descendants that have left the group, for instance
 * by `setsid`. Descendants are found in `/proc`; a system without it, such as macOS, has the group alone. A descendant
 * that has left group and session, and whose parents have ended before the first look, is not found.
 */
export class ProcessTree {
  readonly #leader: number
  /** by process id, of the last look */
  #known = new Map<number, SystemProcess>()
  #hasLooked = false
  /** Looks go one after the other: each begins with what the one before it has found. */
  #lastLook = Promise.resolve()

  constructor(leader: number) {
    this.#leader = leader
  }

  /** Sends a signal to the group and to its descendants, while the leader runs or has only just ended. */
  async signal(signal: EndSignal): Promise<void> {
    await this.look()
    send(-this.#leader, signal)
    // A second signal would tell some programs to end without cleaning up.
    for (const { pid, group } of this.#known.values()) if (group !== this.#leader) send(pid, signal)
  }

  /**
   * Sends a signal to the processes of the last look that are left, and to their descendants. The leader has ended, so
   * the number of its group may belong to another one by now.
   */
  async signalKnown(signal: EndSignal): Promise<void> {
    await this.#find(process => this.#isKnown(process))
    for (const pid of this.#known.keys()) send(pid, signal)
  }

  /**
   * Returns whether the group of the ended leader has members. Costs a system call, where a look costs milliseconds.
   */
  hasGroup(): boolean {
    try {
      return process.kill(-this.#leader, 0)
    } catch (error) {
      // EPERM: members that have become another user's.
      return Reflect.get(Object(error), 'code') === 'EPERM'
    }
  }

  /** Whether a look has begun; so processes outside the group may be known. */
  get hasLooked(): boolean {
    return this.#hasLooked
  }

  /** Returns whether processes of the last look are left, or descendants of them. */
  async hasKnown(): Promise<boolean> {
    await this.#find(process => this.#isKnown(process))
    return this.#known.size > 0
  }

  /** Remembers the processes of this moment. */
  look(): Promise<void> {
    const leader = this.#leader
    this.#hasLooked = true
    return this.#find(one => one.group === leader || one.session === leader || this.#isKnown(one))
  }

  #isKnown({ pid, startTime }: SystemProcess): boolean {
    return this.#known.get(pid)?.startTime === startTime
  }

  #find(isRoot: (process: SystemProcess) => boolean): Promise<void> {
    this.#lastLook = this.#lastLook.then(() => this.#findNow(isRoot))
    return this.#lastLook
  }

  async #findNow(isRoot: (process: SystemProcess) => boolean): Promise<void> {
    const { processes, children } = await readProcesses()
    const found = new Map<number, SystemProcess>()
    const add = (one: SystemProcess): void => {
      if (found.has(one.pid)) return
      found.set(one.pid, one)
      children.get(one.pid)?.forEach(add)
    }
    processes.filter(isRoot).forEach(add)
    this.#known = found
  }
}

/** Sends a signal; a process that has ended, or that belongs to another user by now, gets none. */
function send(pid: number, signal: EndSignal): void {
  try {
    process.kill(pid, signal)
  } catch {
    // ESRCH: it has ended. EPERM: it has become another user's, as `sudo` does.
  }
}

/** All processes of the system at one moment. */
interface SystemProcesses {
  readonly processes: readonly SystemProcess[]
  /** by the id of the parent */
  readonly children: ReadonlyMap<number, readonly SystemProcess[]>
}

/** The look that has not begun. */
let nextRead: Promise<SystemProcesses> | undefined
let lastRead: Promise<unknown> = Promise.resolve()

/**
 * Returns all processes of the system, from a look that begins after the call; none on a system without `/proc`. Calls
 * of one moment share a look, which takes milliseconds.
 */
function readProcesses(): Promise<SystemProcesses> {
  nextRead ??= lastRead.then(() => {
    nextRead = undefined
    return readAll()
  })
  lastRead = nextRead
  return nextRead
}

async function readAll(): Promise<SystemProcesses> {
  const names = await readdir('/proc').catch(() => [])
  const lines = await Promise.all(
    // A process may end at any moment.
    names.filter(name => /^\d+$/.test(name)).map(pid => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')),
  )
  const processes = lines.flatMap(line => parseStat(line) ?? [])
  const children = new Map<number, SystemProcess[]>()
  for (const one of processes) {
    const siblings = children.get(one.parent)
    if (siblings) siblings.push(one)
    else children.set(one.parent, [one])
  }
  return { processes, children }
}

/**
 * Parses a line of `/proc/PID/stat`. The name, in parentheses, may hold spaces and parentheses; see proc_pid_stat(5).
 */
function parseStat(line: string): SystemProcess | undefined {
  const pid = Number.parseInt(line, 10)
  const [state, parent, group, session, ...more] = line.slice(line.lastIndexOf(')') + 2).split(' ')
  const startTime = more[startTimeField - sessionField - 1]
  // A zombie has ended.
  if (startTime === undefined || state === 'Z') return undefined
  return { pid, parent: Number(parent), group: Number(group), session: Number(session), startTime }
}

/** Places in the line, counted from 1 as the manual does; the name is field 2. */
const sessionField = 6
const startTimeField = 22
