/** The strikes of a run: what is killed, stopped or frozen, and at which moment. */
import type { ProgramState } from './program.js'

/**
 * The set of processes that a run kills:
 * - `embedded` a control plane with the bridge and the database inside
 * - `remote` a control plane with an embedded database, and two daemons
 * - `postgres` a control plane with its bridge, a daemon, and PostgreSQL
 * - `quick` a control plane and three daemons; a PostgreSQL server that has the tables already is never killed
 */
export type Mode = 'embedded' | 'remote' | 'postgres' | 'quick'

/** The modes of a long run. */
export const modes: readonly Mode[] = ['embedded', 'remote', 'postgres']

/**
 * The moments that kills must hit:
 * - `first start` the process makes its database or its folder for the first time
 * - `recovery` the process was killed before, and is not ready, or has not handed over the records of its earlier run
 * - `beginning` a request was sent, and the provider has not been called
 * - `streaming` a provider is sending its response
 * - `appending` a provider has sent its last byte, and the client will not receive or has not received it
 * - `committing` a client has the last byte, and the control plane has not committed the end
 * - `stopping` the process has received a SIGTERM
 */
export const phases = [
  'first start',
  'recovery',
  'beginning',
  'streaming',
  'appending',
  'committing',
  'stopping',
] as const

/** One of {@link phases}. */
export type Phase = (typeof phases)[number]

/**
 * - `kill` a SIGKILL; `terminate` a SIGTERM to some processes, in any order
 * - `crash` one process of PostgreSQL is killed, after which the server ends all sessions and recovers
 * - `refuse` PostgreSQL is shut down for a while; `freeze` it gets SIGSTOP, and SIGCONT later
 */
export type Manner = 'kill' | 'terminate' | 'crash' | 'refuse' | 'freeze'

/** The roles of processes. */
export type Role = 'server' | 'daemon' | 'postgres'

/** A planned strike. `all` kills every process at once; the moment of a `terminate` is any. */
export interface Aim {
  manner: Manner
  victim: Role | 'all'
  phase: Exclude<Phase, 'first start'>
  /** how long PostgreSQL refuses or stands still; default: seconds, now and then a minute */
  forMs?: number
}

/** A strike that was carried out, with the states of its victims before. */
export interface Strike {
  at: number
  manner: Manner
  victims: readonly { name: string; role: Role; state: ProgramState; wasReady: boolean; runStartedAt: number }[]
}

const kill = (victim: Aim['victim'], ...at: Aim['phase'][]): Aim[] =>
  at.map(phase => ({ manner: 'kill', victim, phase }))

/** Mode → its strikes. A run goes through them again and again, each time in another order. */
export const decks: Readonly<Record<Mode, readonly Aim[]>> = {
  embedded: [
    ...kill('server', 'beginning', 'streaming', 'appending', 'appending', 'committing', 'committing', 'recovery'),
    ...kill('server', 'stopping', 'stopping'),
    { manner: 'terminate', victim: 'all', phase: 'streaming' },
  ],
  remote: [
    ...kill('daemon', 'beginning', 'streaming', 'appending', 'appending', 'committing', 'committing', 'recovery'),
    ...kill('daemon', 'stopping', 'stopping'),
    ...kill('server', 'streaming', 'appending', 'committing', 'recovery', 'stopping'),
    ...kill('all', 'streaming', 'appending', 'committing'),
    { manner: 'terminate', victim: 'all', phase: 'streaming' },
    { manner: 'terminate', victim: 'all', phase: 'appending' },
  ],
  postgres: [
    ...kill('postgres', 'streaming', 'appending', 'committing', 'committing', 'recovery'),
    ...kill('daemon', 'appending', 'committing', 'recovery'),
    ...kill('server', 'beginning', 'appending', 'committing', 'recovery', 'stopping'),
    ...kill('all', 'streaming', 'committing'),
    { manner: 'terminate', victim: 'all', phase: 'streaming' },
    ...kill('daemon', 'stopping'),
    { manner: 'crash', victim: 'postgres', phase: 'committing' },
    { manner: 'refuse', victim: 'postgres', phase: 'appending' },
    { manner: 'freeze', victim: 'postgres', phase: 'committing' },
  ],
  quick: [
    ...kill('daemon', 'beginning', 'streaming', 'streaming', 'appending', 'appending', 'appending', 'appending'),
    ...kill('daemon', 'committing', 'committing', 'committing', 'recovery', 'recovery', 'recovery', 'stopping'),
    ...kill('server', 'committing'),
  ],
}
