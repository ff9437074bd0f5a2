import type { AgentLink, AgentStore } from '../store/store.js'

/**
 * Reads rows of agents for many calls at once: one statement at a time, for all agents that were asked for meanwhile.
 */
export class AgentRows {
  readonly #store: Pick<AgentStore, 'readAgentLinks'>
  readonly #now: () => Date
  #ids = new Set<string>()
  #next: Promise<ReadonlyMap<string, AgentLink>> | undefined
  #running: Promise<unknown> = Promise.resolve()

  constructor(store: Pick<AgentStore, 'readAgentLinks'>, now: () => Date) {
    this.#store = store
    this.#now = now
  }

  /** Returns the row as it is now or later; undefined for an unknown agent. Rejects as the store does. */
  async read(id: string): Promise<AgentLink | undefined> {
    this.#ids.add(id)
    if (!this.#next) {
      this.#next = this.#running.then(() => this.#load())
      this.#running = this.#next.catch(() => {})
    }
    return (await this.#next).get(id)
  }

  async #load(): Promise<ReadonlyMap<string, AgentLink>> {
    const ids = [...this.#ids]
    this.#ids = new Set()
    this.#next = undefined
    const rows = await this.#store.readAgentLinks(ids, this.#now())
    return new Map(rows.map(row => [row.id, row]))
  }
}
