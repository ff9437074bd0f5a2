/** Parts of tests about the processes of an agent. */

import { randomUUID } from 'node:crypto'
import { readFileSync, watch } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { HostedProcess } from '../../../client/agent/hosted-process.js'
import { ProcessTable, type ProcessTableOptions } from '../../../client/agent/process-table.js'
import type { StartProcess } from '../../../shared/contract/agents.js'
import { opened } from '../../fixtures/leaves-nothing.js'
import { temporaryFolder } from '../../fixtures/temporary-folder.js'

export interface Agent {
  table: ProcessTable
  /** where its commands run */
  folder: string
  /** Starts a command in the foreground; returns its id. */
  run(command: string, more?: Partial<StartProcess>): Promise<string>
  /** Returns the whole lines of a file in the folder; none if there is no file. */
  lines(name: string): string[]
}

/** An agent with a folder of its own; `leavesNothing` closes the agent. */
export async function openAgent(options: Partial<ProcessTableOptions> = {}): Promise<Agent> {
  const folder = await temporaryFolder()
  const table = new ProcessTable({ dir: folder, buildVersion: 'test', ...options })
  const watcher = watch(folder, announceChange)
  opened.add({
    groups: [],
    async close() {
      await table.close()
      watcher.close()
    },
  })
  return {
    table,
    folder,
    async run(command, more = {}) {
      const input = { id: randomUUID(), command, background: false, ...more }
      await table.start(input)
      return input.id
    },
    lines(name) {
      try {
        return readFileSync(`${folder}/${name}`, 'utf8').split('\n').slice(0, -1)
      } catch {
        return []
      }
    },
  }
}

/** The next event of a process of an agent in this thread, or the next change in a folder of an agent. */
let next = nextChange()

function nextChange() {
  let announce = (): void => {}
  const change = new Promise<void>(resolve => {
    announce = resolve
  })
  return { change, announce }
}

function announceChange(): void {
  const { announce } = next
  next = nextChange()
  announce()
}

for (const event of ['onOutput', 'onExit', 'onEnd', 'onClose'] as const) {
  const usual: (...args: never[]) => void = HostedProcess.prototype[event]
  HostedProcess.prototype[event] = function (this: HostedProcess, ...args: unknown[]): void {
    usual.apply(this, args as never[]) // the arguments of the method itself
    announceChange()
  }
}

/** Waits until a fact about an agent of this thread is true: looks after each event of its processes and files. */
export async function until(fact: () => boolean | Promise<boolean>): Promise<void> {
  for (;;) {
    // Events between the look and the wait count.
    const { change } = next
    if (await fact()) return
    await change
  }
}

/**
 * Waits until processes have ended. The system reports the end of children only, so this looks again and again, by the
 * system's clock: a fake one stands still meanwhile.
 */
export async function untilGone(pids: readonly (string | undefined)[]): Promise<void> {
  while (pids.some(isAlive)) await setTimeout(2)
}

/** Whether a process runs; a zombie has ended. */
export function isAlive(pid: string | undefined): boolean {
  if (!pid) throw new Error('no process id')
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return !stat.slice(stat.lastIndexOf(')')).startsWith(') Z')
  } catch {
    return false
  }
}
