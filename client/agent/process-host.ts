import type { ProcessHost } from '../../shared/contract/agents.js'
import { ProcessTable, type ProcessTableOptions } from './process-table.js'

/** Processes of this machine, for the router of an agent. */
export interface LocalProcessHost extends ProcessHost {
  /** Terminates all processes, and kills those that are left 5 s later. Resolves when none is left. */
  close(): Promise<void>
}

/** Creates the processes of an agent in this process. Commands run with the rights of this process. */
export function createProcessHost(options: ProcessTableOptions): LocalProcessHost {
  return new ProcessTable(options)
}
