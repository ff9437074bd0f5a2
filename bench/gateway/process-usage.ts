/** What a process has used, as Linux counts it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'

/** CPU time of a process since its start, user and kernel, in µs. */
export interface CpuTime {
  /** all threads, those that have ended included */
  all: number
  main: number
  /** of the busiest other thread: the store's, in `aibridge serve` */
  busiestOther: number
}

/** Throws where there is no Linux, whose counters are the only ones that name threads of another process. */
export function requireLinux(): void {
  if (process.platform !== 'linux') throw new Error('the gateways are measured by the counters of Linux in /proc')
}

/** Returns the CPU time of a process and of its threads. */
export function cpuTimeOf(pid: number): CpuTime {
  const others = readdirSync(`/proc/${pid}/task`).filter(thread => Number(thread) !== pid)
  const main = threadTimeUs(pid, pid)
  const times = others.map(thread => threadTimeUs(pid, Number(thread)))
  return { all: main + times.reduce((sum, time) => sum + time, 0), main, busiestOther: Math.max(0, ...times) }
}

/** Returns what was used between two looks. */
export function between(before: CpuTime, after: CpuTime): CpuTime {
  return {
    all: after.all - before.all,
    main: after.main - before.main,
    busiestOther: after.busiestOther - before.busiestOther,
  }
}

/** The first number is the time on a CPU in ns (https://docs.kernel.org/scheduler/sched-stats.html). */
function threadTimeUs(pid: number, thread: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1_000
  } catch {
    return 0 // the thread has just ended
  }
}

/** Waits until a process has ended the work that follows its responses, such as the delivery of records. */
export async function untilQuiet(pid: number): Promise<void> {
  let before = cpuTimeOf(pid).all
  for (let look = 0; look < 100; look++) {
    await wait(100)
    const now = cpuTimeOf(pid).all
    // Timers and heartbeats take less.
    if (now - before < 5_000) return
    before = now
  }
}

/** Returns the memory that a process holds, in MiB. */
export function memoryMiB(pid: number): number {
  return statusMiB(pid, 'VmRSS')
}

/** Returns the largest memory that a process has held since its start or {@link forgetPeak}, in MiB. */
export function peakMemoryMiB(pid: number): number {
  return statusMiB(pid, 'VmHWM')
}

/** Sets the largest memory of a process back to the current one: a first start takes more than the load. */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

function statusMiB(pid: number, field: string): number {
  const [, kibibytes] =
    new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kibibytes) / 1024
}
