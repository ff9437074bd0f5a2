/** Ways to run a command to its end, all in one process. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { ProcessTable } from '../../client/agent/process-table.js'
import { connectAgent } from '../../client/agent-connection.js'
import { webSocketDial } from '../../client/rpc/websocket.js'
import { processRouter } from '../../server/routers/process.js'
import { ConnectionGroup } from '../../server/rpc/connection-group.js'
import { groupDuplex } from '../../server/rpc/grouped-duplex.js'
import { serveDial } from '../../server/rpc/serve-dial.js'
import { serveWebSockets } from '../../server/rpc/upgrade/websocket-listener.js'
import type { ProcessHost, ProcessOutput } from '../../shared/contract/agents.js'
import { processLimits } from '../../shared/contract/limits.js'
import { memoryDuplexPair } from '../../shared/rpc/links/memory-duplex.js'
import { ParkedDial } from '../../shared/rpc/links/parked-dial.js'
import { listening } from '../rows/listening.js'

/** The end of a command. */
export type CommandEnd = Pick<ProcessOutput, 'output' | 'exitCode'>

/** A row of the benchmark. */
export interface AgentRow {
  name: string
  does: string
  open(): Promise<OpenAgentRow>
}

/** A row that is ready. */
export interface OpenAgentRow {
  /** Runs a shell command, and resolves with its exit code and output. */
  run(command: string): Promise<CommandEnd>
  close(): Promise<void>
}

export const agentRowNames = {
  bare: 'bare spawn',
  host: 'host alone',
  memory: 'link in memory',
  webSocket: 'link over a WebSocket',
} as const

export const agentRows: readonly AgentRow[] = [
  {
    name: agentRowNames.bare,
    does: "spawn('sh', ['-c', command], { detached: true }), until the exit and the end of the output",
    open: async () => ({ run: runBare, close: async () => {} }),
  },
  {
    name: agentRowNames.host,
    does: "start and output of the agent's process table, without a link",
    async open() {
      const table = openTable()
      return { run: command => runOn(table, command), close: () => table.close() }
    },
  },
  { name: agentRowNames.memory, does: 'start and output over the reversed link, in memory', open: openInMemory },
  {
    name: agentRowNames.webSocket,
    does: 'start and output over the reversed link, a WebSocket that the agent has dialled on loopback',
    open: openOverWebSocket,
  },
]

async function runBare(command: string): Promise<CommandEnd> {
  const child = spawn('sh', ['-c', command], { detached: true })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', chunk => {
    output += chunk
  })
  const [exitCode] = await once(child, 'close')
  return { output, exitCode }
}

async function runOn(host: ProcessHost, command: string): Promise<CommandEnd> {
  const id = randomUUID()
  await host.start({ id, command, background: false }, {})
  return host.output({ id, waitMs: processLimits.maxWaitMs }, {})
}

const openTable = (): ProcessTable => new ProcessTable({ buildVersion: 'bench' })

async function openInMemory(): Promise<OpenAgentRow> {
  const table = openTable()
  const group = new ConnectionGroup()
  const parked = new ParkedDial({ group })
  const dial = () => {
    const [near, far] = memoryDuplexPair()
    parked.bring(groupDuplex(far, group))
    return near
  }
  const service = serveDial({ dial, router: processRouter(table) })
  return called(parked, async () => void (await Promise.all([table.close(), service.close({ graceMs: 0 })])))
}

async function openOverWebSocket(): Promise<OpenAgentRow> {
  const table = openTable()
  const server = createServer()
  const group = new ConnectionGroup()
  const parked = new ParkedDial({ group })
  serveWebSockets({ server, path: '/agent', group, onDuplex: duplex => parked.bring(duplex) })
  const dial = webSocketDial({ url: `${await listening(server)}/agent` })
  const service = serveDial({ dial, router: processRouter(table) })
  return called(parked, async () => {
    await Promise.all([table.close(), service.close({ graceMs: 0 }), group.close({ graceMs: 0 })])
    server.close()
  })
}

function called(parked: ParkedDial, closeFarSide: () => Promise<void>): OpenAgentRow {
  const { host, close } = connectAgent(parked.dial)
  return {
    run: command => runOn(host, command),
    async close() {
      close()
      await closeFarSide()
    },
  }
}
