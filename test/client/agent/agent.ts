/** Parts of tests about the processes of an agent. */

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
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
  /** Returns the lines of a file in the folder; none if there is no file. */
  lines(name: string): string[]
}

/** An agent with a folder of its own; `leavesNothing` closes the agent. */
export async function openAgent(options: Partial<ProcessTableOptions> = {}): Promise<Agent> {
  const folder = await temporaryFolder()
  const table = new ProcessTable({ dir: folder, buildVersion: 'test', ...options })
  opened.add({ groups: [], close: () => table.close() })
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
        return readFileSync(`${folder}/${name}`, 'utf8').trimEnd().split('\n')
      } catch {
        return []
      }
    },
  }
}

/** Waits until a fact is true, by the system's clock: a fake one stands still meanwhile. */
export async function until(fact: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await fact())) await setTimeout(2)
}

/** Whether a process runs; a zombie has ended. */
export function isAlive(pid: string | undefined): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return !stat.slice(stat.lastIndexOf(')')).startsWith(') Z')
  } catch {
    return false
  }
}
