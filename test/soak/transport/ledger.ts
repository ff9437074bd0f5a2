/**
 * Counts the messages of a lying client, and what it may get for them. Reads the wire's rules afresh, not the
 * product's.
 */
import type { ProcedureKind } from './messages.js'

interface Account {
  /** messages that are owed one terminal message each */
  owed: number
  kinds: Set<ProcedureKind | 'invalid'>
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export class Ledger {
  /** whether each call must have its terminal message while the connection is open */
  isExact = true
  /** whether a message has no id to respond to */
  mayBeClosed = false
  readonly #accounts = new Map<string, Account>()
  /** bytes that may have been a message */
  #isBlurred = false

  send(text: string): void {
    if (text === 'PING' || text === 'PONG') return
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      value = undefined
    }
    if (Array.isArray(value)) for (const item of value) this.#sendOne(item)
    else this.#sendOne(value)
    if (!isRecord(value) && !Array.isArray(value)) this.mayBeClosed = true
    if (text.length > 2_000) this.mayBeClosed = true
  }

  /** Notes frames whose message is not known here. */
  sendUnknown(): void {
    this.#isBlurred = true
  }

  /** Returns messages that end all calls. */
  stops(): string[] {
    return [...this.#accounts.keys()].map(id => `{"id":${id},"method":"subscription.stop"}`)
  }

  /** Returns the first call that has no terminal message. */
  missing(received: readonly unknown[]): string | undefined {
    const terminals = this.#terminalsOf(received)
    for (const [id, { owed, kinds }] of this.#accounts) {
      const isAmbiguous = kinds.has('subscription') && kinds.size > 1
      if (!isAmbiguous && (terminals.get(id) ?? 0) < owed)
        return `${owed} messages with the id ${id} got ${terminals.get(id) ?? 0} terminal messages`
    }
    return undefined
  }

  /** Returns the first id that got more terminal messages than it had messages, or none that it may get. */
  surplus(received: readonly unknown[]): string | undefined {
    if (this.#isBlurred) return undefined
    const terminals = this.#terminalsOf(received)
    for (const [id, count] of terminals) {
      const owed = this.#accounts.get(id)?.owed ?? 0
      if (count > owed) return `${owed} messages with the id ${id} got ${count} terminal messages`
    }
    return undefined
  }

  #sendOne(item: unknown): void {
    const id = isRecord(item) ? item.id : undefined
    const isId = (typeof id === 'number' && Number.isFinite(id)) || (typeof id === 'string' && id.length <= 1_024)
    if (!isRecord(item) || !isId) {
      this.mayBeClosed = true
      return
    }
    const isSound = item.jsonrpc === undefined || item.jsonrpc === '2.0'
    if (isSound && item.method === 'subscription.stop') return
    const { method } = item
    const kind = method === 'query' || method === 'mutation' || method === 'subscription' ? method : 'invalid'
    const key = JSON.stringify(id)
    const account = this.#accounts.get(key) ?? { owed: 0, kinds: new Set() }
    account.owed++
    account.kinds.add(kind)
    this.#accounts.set(key, account)
  }

  #terminalsOf(received: readonly unknown[]): Map<string, number> {
    const terminals = new Map<string, number>()
    for (const message of received) {
      if (!isRecord(message) || message.id === null) continue
      const key = JSON.stringify(message.id)
      const type = isRecord(message.result) ? message.result.type : undefined
      const isData = type === 'data' && !this.#accounts.get(key)?.kinds.has('subscription')
      if ('error' in message || type === 'stopped' || isData) terminals.set(key, (terminals.get(key) ?? 0) + 1)
    }
    return terminals
  }
}
