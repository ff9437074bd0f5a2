/** The servers of a round, as processes or in this process. */
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { RunningProcess } from './accounts.js'
import type { Offence } from './offence.js'

/** A server that is killed and stopped. */
export interface Replica {
  readonly name: string
  kill(): Promise<void>
  freeze(): void
  thaw(): void
}

/** Servers of one database, a user, and an agent. */
export interface Place {
  readonly replicas: readonly Replica[]
  /** what servers did or logged against the rules */
  readonly offences: readonly Offence[]
  /** the file to which commands append */
  readonly runsFile: string
  /** Returns the lines of {@link runsFile}. */
  runs(): Promise<string[]>
  /** Returns what runs on the agent when nothing runs any more, or after a time. */
  running(timeoutMs: number): Promise<RunningProcess[]>
  /** Returns a client of one server: the admin's, or that of the user. */
  client(replica: string, key?: string): BridgeClient
  /** Starts everything, and makes the provider, a user with a key, and the user's agent. */
  start(providerUrl: string): Promise<{ key: string }>
  /** Starts a server that was killed. */
  up(replica: Replica): Promise<void>
  /** Ends everything that runs. */
  close(): Promise<void>
}
