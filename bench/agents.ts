/**
 * A command on an agent beside a bare `spawn`: `start` and `output` of `true`, one after another. Caller and agent
 * share a process, so that all rows fork from the same memory.
 */
import { type AgentRow, agentRowNames, agentRows, type OpenAgentRow } from './agents/rows.js'
import { median } from './median.js'

/** How much is measured. */
export interface AgentsEffort {
  rounds: number
  /** rounds whose figures are dropped: V8 compiles */
  warmUps: number
  /** commands of one row in a round */
  commands: number
}

/** Figures of one row. */
interface AgentFigures {
  name: string
  /** ms of one command: the median of all */
  commandMs: number
  /** the median of the ratios to the bare spawn within a round */
  ratio: number
}

/** Ratios to the bare spawn, at most. */
export const agentTargets: Readonly<Record<string, number>> = {
  [agentRowNames.host]: 1.2,
  [agentRowNames.webSocket]: 2,
}

/** A row with the medians of its rounds. */
interface RunningAgentRow extends Pick<AgentRow, 'name' | 'does'> {
  row: OpenAgentRow
  roundsMs: number[]
}

/**
 * Measures all rows in turns, and prints the figures.
 * @throws Error if a command has not the exit code and the output that it should have
 */
export async function benchAgents({ effort, json }: { effort: AgentsEffort; json: boolean }): Promise<void> {
  const running: RunningAgentRow[] = []
  try {
    for (const { name, does, open } of agentRows) running.push({ name, does, row: await open(), roundsMs: [] })
    for (const { name, row } of running) await verify(name, row)
    for (let round = 0; round < effort.warmUps + effort.rounds; round++) {
      const times = running.map((): number[] => [])
      // The rows take turns at each command: the system's own speed changes within a second.
      for (let turn = 0; turn < effort.commands; turn++) {
        for (const [index, { name, row }] of running.entries()) times[index]?.push(await timed(name, row))
      }
      for (const [index, { roundsMs }] of running.entries()) roundsMs.push(median(times[index] ?? []))
    }
    print(figuresOf(running, effort.warmUps), running, json)
  } finally {
    for (const { row } of running) await row.close()
  }
}

async function timed(name: string, row: OpenAgentRow): Promise<number> {
  const begun = performance.now()
  const { exitCode, output } = await row.run('true')
  const ms = performance.now() - begun
  if (exitCode !== 0 || output !== '') throw new Error(`${name}: true ended with ${exitCode} and ${output}`)
  return ms
}

/** A row that runs nothing would be fast. */
async function verify(name: string, row: OpenAgentRow): Promise<void> {
  const { exitCode, output } = await row.run('echo "a line"; exit 3')
  if (exitCode !== 3 || output !== 'a line\n') throw new Error(`${name}: a command ended with ${exitCode}: ${output}`)
}

function figuresOf(running: readonly RunningAgentRow[], warmUps: number): AgentFigures[] {
  const bare = running[0]?.roundsMs ?? []
  return running.map(({ name, roundsMs }) => ({
    name,
    commandMs: median(roundsMs.slice(warmUps)),
    ratio: median(roundsMs.map((ms, round) => ms / (bare[round] ?? Number.NaN)).slice(warmUps)),
  }))
}

function print(figures: readonly AgentFigures[], running: readonly RunningAgentRow[], json: boolean): void {
  if (json) {
    for (const { name, commandMs, ratio } of figures) {
      console.log(JSON.stringify({ name, commandMs: Number(commandMs.toFixed(3)), ratio: Number(ratio.toFixed(3)) }))
    }
    return
  }
  console.log(`\nA command on an agent, one after another (Node ${process.versions.node})`)
  printColumns('', 'ms', '× bare spawn')
  for (const { name, commandMs, ratio } of figures) printColumns(name, commandMs.toFixed(2), ratio.toFixed(2))
  for (const { name, does } of running) console.log(`${name.padEnd(firstColumn)}${does}`)
  console.log('\nTargets')
  for (const { name, ratio } of figures) {
    const bound = agentTargets[name]
    if (bound === undefined) continue
    console.log(`${name.padEnd(firstColumn)}${ratio.toFixed(2)} × (≤ ${bound}) ${ratio <= bound ? 'met' : 'missed'}`)
  }
}

const firstColumn = 26

function printColumns(name: string, ...columns: string[]): void {
  console.log(name.padEnd(firstColumn) + columns.map(column => column.padStart(14)).join(''))
}
