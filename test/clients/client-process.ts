/** Runs a client in a process group of its own, for a bounded time. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'

export interface ClientRun {
  command: readonly string[]
  cwd: string
  /** the whole environment */
  env: Record<string, string>
  timeoutMs: number
}

export interface ClientExit {
  /** exit code, name of a signal, or `timeout` */
  end: string
  stdout: string
  stderr: string
  tookMs: number
}

const running = new Set<ChildProcess>()

/** Kills the process groups of all clients that run. */
export function killClients(): void {
  for (const child of running) killGroup(child)
}

/** Runs a client to its end, or to the timeout, and kills the rest of its process group. */
export async function runClient({ command, cwd, env, timeoutMs }: ClientRun): Promise<ClientExit> {
  const [program = '', ...args] = command
  const startedAt = performance.now()
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const closed = once(child, 'close')
  const timer = new AbortController()
  try {
    const end = await Promise.race([
      once(child, 'exit').then(([code, signal]) => String(code ?? signal)),
      pause(timeoutMs, 'timeout', { signal: timer.signal }),
    ])
    killGroup(child)
    // A process outside of the group may hold the pipes open for ever.
    await Promise.race([closed, pause(2_000, undefined, { signal: timer.signal })])
    return { end, stdout, stderr, tookMs: performance.now() - startedAt }
  } finally {
    running.delete(child)
    timer.abort()
    killGroup(child)
    child.stdout.destroy()
    child.stderr.destroy()
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // The group has ended by itself.
  }
}
