import { hash } from 'node:crypto'
import type { StartProcess } from '../../shared/contract/agents.js'

/** Returns the same for inputs of `start` that start the same process. */
export function hashOfStart({ scope, command, dir, env = {}, background, deadlineMs }: StartProcess): string {
  const variables = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))
  // Left out fields become null.
  return hash('sha256', JSON.stringify([scope, command, dir, variables, background, deadlineMs]))
}
