/** The connections of agents to this process. */
import type { ProcessCall, ProcessHost } from '../../shared/contract/agents.js'
import { serviceCloseCodes } from '../../shared/contract/close-codes.js'
import { type ErrorReason, errorReasonOf, rpcError } from '../../shared/contract/error-reasons.js'
import { presence } from '../../shared/contract/limits.js'
import { type CloseReason, closeCodes, type Duplex } from '../../shared/rpc/duplex.js'
import { errorCodeOf, mayHaveRunOf, RpcError } from '../../shared/rpc/errors.js'
import { times } from '../../shared/rpc/limits.js'
import { type DrainSource, ParkedDial } from '../../shared/rpc/links/parked-dial.js'
import type { Logger } from '../../shared/values/log.js'
import type { ConnectionGroup } from '../rpc/connection-group.js'
import type { AgentIdentity } from '../services/admin/agent-keys.js'
import type { AgentCall, AgentHosts } from '../services/agent-hosts.js'
import { auditEntry } from '../services/audit-entry.js'
import type { AgentStore, AuditedWrites, ChangeStore } from '../store/store.js'

/** The processes of an agent over the duplexes that the agent brings. */
export interface AgentConnection {
  host: ProcessHost
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

/** One instance of an agent: its calls wait for its next duplex, and end when another instance comes. */
interface Link {
  readonly instance: string
  readonly parked: ParkedDial
  readonly connection: AgentConnection
  /** number of the newest duplex */
  epoch: number
  /** the newest duplex; undefined when it has closed */
  duplex: Duplex | undefined
}

/**
 * The agents that are connected to this process: who they are, whether they may stay, and their processes.
 *
 * An agent that dials again goes on with its calls. Another process with the same key takes the place of the first,
 * here or at another server: the calls of the first end, since its commands are gone, and it does not dial again.
 */
export class AgentLinks implements AgentHosts {
  readonly #options: AgentLinksOptions
  readonly #links = new Map<string, Link>()
  readonly #arrivals = new Map<string, Set<() => void>>()
  readonly #stopListening: () => void
  readonly #notes = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #notedAt = 0
  #isStopped = false

  constructor(options: AgentLinksOptions) {
    this.#options = options
    this.#stopListening = options.store.onChange('agents', () => void this.#check())
    options.group.onDrain(() => this.#wakeAll())
  }

  /** Takes the duplex of an agent; rejects if the store cannot note it. */
  async accept(duplex: Duplex, { agentId, name, instance, buildVersion, signal }: ArrivedAgent): Promise<void> {
    const { store, replica, group, connectAgent, logger } = this.#options
    const at = this.#now()
    const livesSince = new Date(at.getTime() - presence.agentGoneAfterMs)
    const noted = await store.recordAgentConnected(agentId, {
      replica,
      instance,
      buildVersion,
      at,
      livesSince,
    })
    if (!noted || this.#isStopped) return duplex.close(noted ? goingAway : revoked)
    const { epoch, replaced } = noted
    let link = this.#links.get(agentId)
    // The note of a newer duplex was stored behind this one, and came back before it.
    if (link && link.epoch > epoch) return duplex.close(link.instance === instance ? movedAway : replacedByOther)
    if (link && link.instance !== instance) {
      this.#end(agentId, link, replacedByOther)
      link = undefined
    }
    if (replaced !== null && replaced !== instance) {
      logger.warn({ agentId, agent: name }, 'another process uses the key of an agent, and replaces the first')
      const details = { instance, replaced }
      await store.audited(
        async () => undefined,
        () => auditEntry(name, 'agents.replaced', agentId, details),
      )
    }
    if (!link) {
      const parked = new ParkedDial({ group })
      link = { instance, parked, connection: connectAgent(parked.dial), epoch, duplex }
      this.#links.set(agentId, link)
    }
    link.epoch = epoch
    link.duplex = duplex
    const onClose = () => {
      if (link.duplex === duplex) link.duplex = undefined
      this.#note(store.recordAgentLeft({ id: agentId, epoch }, this.#now()))
    }
    link.parked.bring(duplex)
    if (signal.aborted) onClose()
    else signal.addEventListener('abort', onClose, { once: true })
    logger.info({ agentId, agent: name }, 'an agent is connected')
    this.#timer ??= this.#schedule()
    this.#wake(agentId)
  }

  async call<T>(
    agentId: string,
    call: AgentCall,
    work: (host: ProcessHost, instanceId: string, call: ProcessCall) => Promise<T>,
  ): Promise<T> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), call.timeoutMs)
    const signal = call.signal ? AbortSignal.any([call.signal, late.signal]) : late.signal
    try {
      for (;;) {
        const link = await this.#linkOf(agentId, signal)
        if (!link) throw late.signal.aborted ? unreachable(call.timeoutMs, false) : call.signal?.reason
        if (call.instanceId !== undefined && call.instanceId !== link.instance) throw restarted()
        try {
          return await work(link.connection.host, link.instance, { signal })
        } catch (error) {
          const isReplaced = this.#links.get(agentId) !== link
          if (late.signal.aborted) throw link.duplex ? silent(call.timeoutMs) : unreachable(call.timeoutMs, true)
          if (isReplaced && mayHaveRunOf(error) === false && !signal.aborted && !this.#isStopped) continue
          if (isReplaced && isOfLink(error)) throw restarted()
          throw error
        }
      }
    } finally {
      clearTimeout(timer)
    }
  }

  /** Ends the watch. The group has closed the connections. Waits for the last notes, and not for a store that hangs. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#stopListening()
    clearTimeout(this.#timer)
    for (const [agentId, link] of this.#links) this.#end(agentId, link, goingAway)
    this.#wakeAll()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>(resolve => {
      timer = setTimeout(resolve, presence.stopMs)
    })
    await Promise.race([Promise.all(this.#notes), late])
    clearTimeout(timer)
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date()
  }

  /** Waits for an agent that has not come to this process yet; returns undefined if the signal aborts. */
  async #linkOf(agentId: string, signal: AbortSignal): Promise<Link | undefined> {
    for (;;) {
      const link = this.#links.get(agentId)
      if (link) return link
      if (this.#isStopped || this.#options.group.state !== 'open') {
        throw rpcError('draining', 'the server is closing', { mayHaveRun: false })
      }
      if (signal.aborted) return undefined
      await this.#arrival(agentId, signal)
    }
  }

  /** Resolves when the agent comes, or the signal aborts. */
  #arrival(agentId: string, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const waiting = this.#arrivals.get(agentId) ?? new Set()
      this.#arrivals.set(agentId, waiting)
      const end = () => {
        signal.removeEventListener('abort', end)
        waiting.delete(end)
        if (waiting.size === 0 && this.#arrivals.get(agentId) === waiting) this.#arrivals.delete(agentId)
        resolve()
      }
      signal.addEventListener('abort', end, { once: true })
      waiting.add(end)
    })
  }

  #wake(agentId: string): void {
    for (const end of [...(this.#arrivals.get(agentId) ?? [])]) end()
  }

  #wakeAll(): void {
    for (const agentId of [...this.#arrivals.keys()]) this.#wake(agentId)
  }

  #end(agentId: string, link: Link, reason: CloseReason): void {
    if (this.#links.get(agentId) === link) this.#links.delete(agentId)
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

  /** Closes the connections of agents that may not stay, and of those that went to another server. */
  async #check(): Promise<void> {
    if (this.#isStopped) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    const { store, logger } = this.#options
    const open = [...this.#links].filter(([, { duplex }]) => duplex)
    if (open.length > 0) {
      try {
        const at = this.#now()
        const rows = await store.readAgentLinks(
          open.map(([id]) => id),
          at,
        )
        const byId = new Map(rows.map(row => [row.id, row]))
        for (const [id, link] of open) {
          const row = byId.get(id)
          if (!row?.isValid) this.#end(id, link, revoked)
          else if (row.epoch > link.epoch && row.instance !== link.instance) this.#end(id, link, replacedByOther)
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

/** Whether an error is the connection's, and not the agent's. */
function isOfLink(error: unknown): boolean {
  return errorReasonOf(error)?.startsWith('connection_') || errorCodeOf(error) === 'TIMEOUT'
}

function restarted() {
  const message =
    'the agent was started anew: its processes are gone, and their outcome is unknown; nothing was run again'
  return rpcError('agent_restarted', message, { mayHaveRun: true })
}

function silent(timeoutMs: number) {
  const message = `the agent is connected and did not respond within ${Math.ceil(timeoutMs / 1000)} s`
  return new RpcError<string>('TIMEOUT', message, { mayHaveRun: true })
}

function unreachable(timeoutMs: number, mayHaveRun: boolean) {
  const message =
    `the agent was not connected for ${Math.ceil(timeoutMs / 1000)} s; its commands go on while it is away: ` +
    'check the agent and its network, then read the output again'
  return rpcError('agent_unreachable', message, { mayHaveRun })
}
