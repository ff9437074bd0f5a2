import type { Logger } from '../../shared/values/log.js'
import { auditEntry } from '../services/audit-entry.js'
import type { AgentConnected, AuditedWrites, TransactionTables } from '../store/store.js'

/** Time within which a server adds one entry about an agent: a holder of its key must not be able to fill the log. */
const windowMs = 60_000

/** The settings of {@link ReplacedAgents}. */
export interface ReplacedAgentsOptions {
  store: AuditedWrites
  logger: Logger
}

/** A process that connects with the key of an agent. */
export interface ConnectingAgent {
  agentId: string
  name: string
  instance: string
}

/** The minute behind an entry about an agent. */
interface Window {
  agent: Pick<ConnectingAgent, 'agentId' | 'name'>
  timer: NodeJS.Timeout
  /** the newest replacement without an entry, and the number of all such */
  pending: { instance: string; replaced: string; count: number } | undefined
}

/**
 * The audit entries about agents that another process replaced: one for each agent and minute. The first is stored in
 * one transaction with the connection. Replacements of the minute behind it share the next entry, which names the
 * newest one and has the number of the `others`.
 */
export class ReplacedAgents {
  readonly #options: ReplacedAgentsOptions
  readonly #windows = new Map<string, Window>()

  constructor(options: ReplacedAgentsOptions) {
    this.#options = options
  }

  /** Stores a connection by `record`, and that it replaces another process, if it does. Rejects as the store does. */
  async recordConnected(
    agent: ConnectingAgent,
    record: (tables: TransactionTables) => Promise<AgentConnected | null>,
  ): Promise<AgentConnected | null> {
    const { agentId, name, instance } = agent
    let opened: Window | undefined
    try {
      const noted = await this.#options.store.audited(record, connected => {
        const replaced = replacedBy(instance, connected)
        if (replaced === null || this.#windows.has(agentId)) return null
        opened = this.#open(agent)
        return auditEntry(name, 'agents.replaced', agentId, { instance, replaced })
      })
      const replaced = replacedBy(instance, noted)
      if (opened) this.#log(opened.agent)
      else if (replaced !== null) {
        const window = this.#windows.get(agentId) ?? this.#open(agent)
        window.pending = { instance, replaced, count: (window.pending?.count ?? 0) + 1 }
      }
      return noted
    } catch (error) {
      // Others may have joined the window meanwhile.
      if (opened && !opened.pending) this.#close(opened)
      throw error
    }
  }

  /** Adds the entries that are due later. Never rejects. */
  async stop(): Promise<void> {
    await Promise.all([...this.#windows.keys()].map(agentId => this.#end(agentId)))
    for (const window of this.#windows.values()) this.#close(window)
  }

  #open({ agentId, name }: ConnectingAgent): Window {
    const window: Window = { agent: { agentId, name }, timer: this.#schedule(agentId), pending: undefined }
    this.#windows.set(agentId, window)
    return window
  }

  #schedule(agentId: string): NodeJS.Timeout {
    return setTimeout(() => void this.#end(agentId), windowMs).unref()
  }

  #close({ agent, timer }: Window): void {
    clearTimeout(timer)
    this.#windows.delete(agent.agentId)
  }

  /** Adds the entry of a minute that is over; another minute follows. */
  async #end(agentId: string): Promise<void> {
    const window = this.#windows.get(agentId)
    if (!window) return
    const { agent, pending } = window
    if (!pending) return this.#close(window)
    const { store, logger } = this.#options
    clearTimeout(window.timer)
    window.timer = this.#schedule(agentId)
    window.pending = undefined
    const { count, ...details } = pending
    const entry = auditEntry(agent.name, 'agents.replaced', agentId, {
      ...details,
      ...(count > 1 && { others: count - 1 }),
    })
    try {
      await store.audited(
        async () => undefined,
        () => entry,
      )
      this.#log(agent)
    } catch (error) {
      const newer = window.pending as Window['pending'] // another replacement may have come meanwhile
      window.pending = { ...(newer ?? details), count: count + (newer?.count ?? 0) }
      logger.warn({ err: error }, 'it could not be stored that an agent was replaced')
    }
  }

  #log({ agentId, name }: Window['agent']): void {
    this.#options.logger.warn(
      { agentId, agent: name },
      'another process uses the key of an agent, and replaces the first',
    )
  }
}

/** Returns the other process that was connected until now, if any was. */
function replacedBy(instance: string, connected: AgentConnected | null): string | null {
  return !connected || connected.replaced === instance ? null : connected.replaced
}
