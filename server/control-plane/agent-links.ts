/** The connections of agents to this process. */
import type { ProcessHost } from '../../shared/contract/agents.js'
import { serviceCloseCodes } from '../../shared/contract/close-codes.js'
import type { ErrorReason } from '../../shared/contract/error-reasons.js'
import { presence } from '../../shared/contract/limits.js'
import { type CloseReason, closeCodes, type Duplex } from '../../shared/rpc/duplex.js'
import { times } from '../../shared/rpc/limits.js'
import { type DrainSource, ParkedDial } from '../../shared/rpc/links/parked-dial.js'
import type { Logger } from '../../shared/values/log.js'
import type { ConnectionGroup } from '../rpc/connection-group.js'
import type { AgentIdentity } from '../services/admin/agent-keys.js'
import type { AgentStore, AuditedWrites, ChangeStore } from '../store/store.js'
import { ReplacedAgents } from './replaced-agents.js'

/** The processes of an agent over the duplexes that the agent brings. */
export interface AgentConnection {
  host: ProcessHost
  /** whether the connection is closed for good: no further duplex is of use */
  readonly isClosed: boolean
  /** Ends the calls in flight, and the connection for good. */
  close(): void
}

/** Calls the processes of an agent over a dial: `connectAgent` of `aibridge/client`. */
export type ConnectAgent = (dial: (info: { signal: AbortSignal }) => Promise<Duplex>) => AgentConnection

export interface AgentLinksOptions {
  store: AgentStore & AuditedWrites & ChangeStore
  /** this process, as the rows of agents name it */
  replica: string
  group: DrainSource & Pick<ConnectionGroup, 'state'>
  connectAgent: ConnectAgent
  logger: Logger
  /** time between two checks of the keys, and two notes of presence, without a notification; default one heartbeat */
  intervalMs?: number
  now?: () => Date
}

/** A connection of an agent, as its upgrade describes it. */
export interface ArrivedAgent extends AgentIdentity {
  /** the process of the agent */
  instance: string
  buildVersion: string | null
  /** aborts when the duplex has closed */
  signal: AbortSignal
}

/** An instance of an agent at this process: its calls wait for its next duplex, and end when another instance comes. */
export interface HeldAgent {
  readonly instance: string
  readonly host: ProcessHost
  /** whether the agent has a connection to this process */
  readonly isConnected: boolean
  /** false when another instance has come, the agent has gone to another server, or it may not connect any more */
  readonly isCurrent: boolean
}

class Link implements HeldAgent {
  isCurrent = true
  readonly instance: string
  readonly parked: ParkedDial
  readonly connection: AgentConnection
  /** number of the newest duplex */
  epoch = 0
  /** the newest duplex; undefined when it has closed */
  duplex: Duplex | undefined

  constructor(instance: string, group: DrainSource, connectAgent: ConnectAgent) {
    this.instance = instance
    this.parked = new ParkedDial({ group })
    this.connection = connectAgent(this.parked.dial)
  }

  /** Takes the newest duplex of the agent. */
  take(duplex: Duplex, epoch: number): void {
    this.epoch = epoch
    this.duplex = duplex
    this.parked.bring(duplex)
  }

  get host(): ProcessHost {
    return this.connection.host
  }

  get isConnected(): boolean {
    return this.duplex !== undefined
  }
}

/**
 * The agents that are connected to this process: their identity, whether they may stay, and their processes.
 *
 * An agent that dials again goes on with its calls; at another server, calls to it end here. Another process with the
 * same key takes the place of the first, here or at another server: the calls of the first end, since its commands are
 * gone, and it does not dial again.
 */
export class AgentLinks {
  readonly #options: AgentLinksOptions
  readonly #links = new Map<string, Link>()
  readonly #listeners = new Set<(agentId: string) => void>()
  readonly #stopListening: () => void
  readonly #notes = new Set<Promise<void>>()
  readonly #replaced: ReplacedAgents
  #timer: NodeJS.Timeout | undefined
  #notedAt = 0
  /** checks that were asked for and are not done */
  #dueChecks = 0
  #isStopped = false

  constructor(options: AgentLinksOptions) {
    this.#options = options
    this.#replaced = new ReplacedAgents(options)
    this.#stopListening = options.store.onChange('agents', () => void this.#check())
  }

  /** Takes the duplex of an agent; rejects if the store cannot note it. */
  async accept(duplex: Duplex, arrived: ArrivedAgent): Promise<void> {
    const { store, replica, group, logger } = this.#options
    const { agentId, name, instance, buildVersion, signal } = arrived
    const at = this.#now()
    const livesSince = new Date(at.getTime() - presence.agentGoneAfterMs)
    const noted = await this.#replaced.recordConnected(arrived, tables =>
      tables.recordAgentConnected(agentId, { replica, instance, buildVersion, at, livesSince }),
    )
    if (!noted) return duplex.close(revoked)
    // Nothing below waits: several processes with one key arrive at once, and none may be forgotten.
    const { epoch } = noted
    const isClosing = this.#isStopped || group.state !== 'open'
    const taken = isClosing ? goingAway : this.#linkOf(agentId, instance, epoch)
    const link = taken instanceof Link ? taken : undefined
    const onClose = () => {
      if (link?.duplex === duplex) link.duplex = undefined
      this.#note(store.recordAgentLeft({ id: agentId, epoch }, this.#now()))
    }
    if (taken instanceof Link) taken.take(duplex, epoch)
    else duplex.close(taken)
    if (signal.aborted) onClose()
    else signal.addEventListener('abort', onClose, { once: true })
    if (!link) return
    logger.info({ agentId, agent: name }, 'an agent is connected')
    this.#timer ??= this.#schedule()
    for (const listener of [...this.#listeners]) listener(agentId)
  }

  /** Returns the link that takes a connection, or the reason why none does. */
  #linkOf(agentId: string, instance: string, epoch: number): Link | CloseReason {
    const { group, connectAgent } = this.#options
    const link = this.#links.get(agentId)
    // The note of a newer duplex was stored behind this one, and came back before it.
    if (link && link.epoch > epoch) return link.instance === instance ? movedAway : replacedByOther
    if (link?.instance === instance && !link.connection.isClosed) return link
    // The far side can close a connection for good, by a final close code, and dial again.
    if (link) this.#end(agentId, link, link.instance === instance ? movedAway : replacedByOther)
    const fresh = new Link(instance, group, connectAgent)
    this.#links.set(agentId, fresh)
    return fresh
  }

  /** The processes of an agent that is connected to this process; undefined while it has no connection. */
  connected(agentId: string): HeldAgent | undefined {
    const link = this.#links.get(agentId)
    return link?.duplex && link
  }

  /** Calls `listener` with the id of an agent when it is connected. Returns a function that ends the calls. */
  onArrival(listener: (agentId: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Ends the watch. The group has closed the connections. Waits for the last notes, and not for a store that hangs. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#stopListening()
    clearTimeout(this.#timer)
    for (const [agentId, link] of this.#links) this.#end(agentId, link, goingAway)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>(resolve => {
      timer = setTimeout(resolve, presence.stopMs)
    })
    await Promise.race([Promise.all([this.#replaced.stop(), ...this.#notes]), late])
    clearTimeout(timer)
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date()
  }

  #end(agentId: string, link: Link, reason: CloseReason): void {
    if (this.#links.get(agentId) === link) this.#links.delete(agentId)
    link.isCurrent = false
    link.duplex?.close(reason)
    link.parked.close(reason)
    link.connection.close()
  }

  #note(note: Promise<void>): void {
    const logged = note.catch((error: unknown) =>
      this.#options.logger.warn({ err: error }, 'it could not be stored that an agent was seen'),
    )
    this.#notes.add(logged)
    void logged.then(() => this.#notes.delete(logged))
  }

  get #intervalMs(): number {
    return this.#options.intervalMs ?? times.pingIntervalMs
  }

  #schedule(): NodeJS.Timeout {
    return setTimeout(() => void this.#check(), this.#intervalMs).unref()
  }

  /** Checks all connections. One check runs at a time; the next one is for all that were asked for meanwhile. */
  async #check(): Promise<void> {
    if (this.#dueChecks++ > 0) return
    while (this.#dueChecks > 0) {
      const due = this.#dueChecks
      await this.#checkOnce()
      this.#dueChecks -= due
    }
  }

  /** Closes the connections of agents that may not stay, and of those that went to another server. Never rejects. */
  async #checkOnce(): Promise<void> {
    if (this.#isStopped) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    const { store, logger, group, replica } = this.#options
    const known = [...this.#links]
    if (known.length > 0) {
      try {
        const at = this.#now()
        const rows = await store.readAgentLinks(
          known.map(([id]) => id),
          at,
        )
        const byId = new Map(rows.map(row => [row.id, row]))
        for (const [id, link] of known) {
          const row = byId.get(id)
          if (!row?.isValid) this.#end(id, link, revoked)
          else if (row.epoch <= link.epoch) continue
          else if (row.instance !== link.instance) this.#end(id, link, replacedByOther)
          // The agent has lost this connection. One that a draining server has asked to leave has calls in flight yet.
          else if (row.replica !== replica && group.state === 'open') this.#end(id, link, movedAway)
        }
        if (at.getTime() - this.#notedAt >= this.#intervalMs) {
          this.#notedAt = at.getTime()
          this.#note(store.recordAgentsPresent(this.#present(), at))
        }
      } catch (error) {
        // A silent store is no reason to cut agents off; the next check follows.
        logger.warn({ err: error }, 'the keys of agents could not be checked')
      }
    }
    if (this.#links.size > 0 && !this.#isStopped) this.#timer ??= this.#schedule()
  }

  #present(): { id: string; epoch: number }[] {
    return [...this.#links].flatMap(([id, { duplex, epoch }]) => (duplex ? [{ id, epoch }] : []))
  }
}

const goingAway: CloseReason = { code: closeCodes.goingAway, message: 'the server shuts down', reason: 'draining' }
const movedAway: CloseReason = { code: closeCodes.normal, message: 'replaced by a newer connection' }
const revoked: CloseReason = {
  code: serviceCloseCodes.keyRevoked,
  message: 'the key of the agent may not be used any more',
  reason: 'key_revoked' satisfies ErrorReason,
}
const replacedByOther: CloseReason = {
  code: serviceCloseCodes.replaced,
  message: 'another process uses the key of this agent; each agent needs a key of its own',
  reason: 'replaced' satisfies ErrorReason,
}
