/**
 * `npm run bench`: this project beside its peers in one run.
 *
 *     npm run bench                                all parts but `million`, `reconnect`, `gateway` and `journal`
 *     npm run bench -- calls store                 some parts
 *     npm run bench -- calls --quick               a rough result in half a minute
 *     npm run bench -- calls --only aibridge,ws    rows with such names
 *     npm run bench -- calls --cpu                 rates per second of CPU time, for a busy machine
 *     npm run bench -- --json                      calls, subscriptions and idle connections, one object per row
 *     npm run bench -- gateway                     requests through `serve` beside other gateways
 *     npm run bench -- gateway --build DIR         and beside another build of this project, DIR being its dist/
 *     npm run bench -- acp                         updates of agents beside the official SDK's both ends
 *     npm run bench -- agents                      commands on an agent beside a bare spawn
 *     npm run bench -- journal                     requests through `serve` with and without its journal on disk
 */
import { parseArgs } from 'node:util'
import type { AcpEffort } from './acp.js'
import type { AgentsEffort } from './agents.js'
import type { ChatsEffort } from './chats.js'
import type { Effort } from './effort.js'
import type { GatewayEffort } from './gateway/run.js'
import { benchLinks, linkParts } from './links.js'

const full: Effort = { rounds: 9, warmUps: 4, measureMs: 150, turns: 4, connections: 500 }
const quick: Effort = { rounds: 5, warmUps: 3, measureMs: 60, turns: 4, connections: 200 }
/** Shows that every row works; the figures say nothing. */
const smoke: Effort = { rounds: 1, warmUps: 0, measureMs: 1, turns: 1 / 16, connections: 4 }
/** A round of all rows takes half a minute. */
const fullGateway: GatewayEffort = { rounds: 5, warmUps: 4, loadMs: 2_000 }
const quickGateway: GatewayEffort = { rounds: 3, warmUps: 1, loadMs: 1_000 }
const smokeGateway: GatewayEffort = { rounds: 1, warmUps: 0, loadMs: 50 }
/** Small differences want many rounds. */
const fullJournal: GatewayEffort = { rounds: 40, warmUps: 10, loadMs: 1_000 }
const quickJournal: GatewayEffort = { rounds: 9, warmUps: 4, loadMs: 500 }
const fullAgents: AgentsEffort = { rounds: 15, warmUps: 3, commands: 100 }
const quickAgents: AgentsEffort = { rounds: 5, warmUps: 2, commands: 50 }
const smokeAgents: AgentsEffort = { rounds: 1, warmUps: 0, commands: 2 }

const fullAcp: AcpEffort = { rounds: 9, warmUps: 3, updates: 20_000, connections: 200 }
const quickAcp: AcpEffort = { rounds: 5, warmUps: 2, updates: 5_000, connections: 50 }
const smokeAcp: AcpEffort = { rounds: 1, warmUps: 0, updates: 50, connections: 2 }

const fullChats: ChatsEffort = { rounds: 9, warmUps: 3, deltas: 200, watchers: 300 }
const quickChats: ChatsEffort = { rounds: 3, warmUps: 1, deltas: 100, watchers: 100 }
const smokeChats: ChatsEffort = { rounds: 1, warmUps: 0, deltas: 5, watchers: 2 }

type Bench = () => Promise<void>
/** Imported when they run: the other parts need no store. */
const others: Readonly<Record<string, Bench>> = {
  store: async () => (await import('./store.js')).benchStore(),
  bridge: async () => (await import('./bridge.js')).benchBridge(),
  acp: async () => {
    const effort = options.smoke ? smokeAcp : options.quick ? quickAcp : fullAcp
    await (await import('./acp.js')).benchAcp({ effort, json: options.json })
  },
  agents: async () => {
    const effort = options.smoke ? smokeAgents : options.quick ? quickAgents : fullAgents
    await (await import('./agents.js')).benchAgents({ effort, json: options.json })
  },
}
/** Take minutes, or mostly wait, so they run only when they are asked for. */
const long: Readonly<Record<string, Bench>> = {
  million: async () => (await import('./million.js')).benchMillion(),
  reconnect: async () => (await import('./reconnect.js')).benchReconnect(),
  gateway: async () => {
    const { json, build, 'no-peers': noPeers } = options
    const effort = options.smoke ? smokeGateway : options.quick ? quickGateway : fullGateway
    await (await import('./gateway.js')).benchGateway({ effort, json, peers: !noPeers, only, build })
  },
  chats: async () => {
    const effort = options.smoke ? smokeChats : options.quick ? quickChats : fullChats
    await (await import('./chats.js')).benchChats({ effort, json: options.json })
  },
  journal: async () => {
    const effort = options.smoke ? smokeGateway : options.quick ? quickJournal : fullJournal
    await (await import('./journal.js')).benchJournal({ effort, json: options.json, only })
  },
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    cpu: { type: 'boolean', default: false },
    'no-peers': { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    build: { type: 'string' },
  },
})
const known = [...linkParts, ...Object.keys(others), ...Object.keys(long)]
const unknown = positionals.filter(name => !known.includes(name))
if (unknown.length > 0) throw new Error(`no benchmark is called ${unknown}; there are ${known}`)

const only = options.only.split(',').filter(name => name !== '')
const asked = (name: string): boolean => positionals.includes(name)
const wantsAll = positionals.length === 0
const parts = linkParts.filter(part => wantsAll || asked(part))
if (parts.length > 0) {
  await benchLinks({
    parts,
    effort: options.smoke ? smoke : options.quick ? quick : full,
    clock: options.cpu ? cpuMs : () => performance.now(),
    json: options.json,
    peers: !options['no-peers'],
    only,
  })
}
for (const [name, bench] of Object.entries({ ...others, ...long })) {
  if (asked(name) || (wantsAll && !options.json && Object.hasOwn(others, name))) await bench()
}

/** Returns the CPU time of this process, its kernel time included. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}
