/** Both ends of a connection of the Agent Client Protocol. */

/** An open connection with one session. */
export interface OpenAcpRow {
  /**
   * Prompts once: the agent sends so many updates, each a message of its own, and then the response. Resolves with the
   * number of updates that arrived at the client, and whether they were in order.
   */
  prompt(updates: number): Promise<{ received: number; isInOrder: boolean }>
  close(): Promise<void>
}

/** One implementation. */
export interface AcpRow {
  name: string
  transport: 'sse' | 'websocket'
  /** Opens a server and a client of it. */
  open(): Promise<OpenAcpRow>
  /** Opens so many further connections on the server of one client, without sessions; for the heap of an idle one. */
  openIdle(): Promise<{ connect(): Promise<() => Promise<void>>; close(): Promise<void> }>
}

/** A message as an agent and a client see it. */
export interface RowMessage {
  readonly jsonrpc: '2.0'
  readonly id?: number
  readonly method?: string
  readonly params?: unknown
  readonly result?: unknown
}

const text = 'A few words, as a model streams them. '

/** Returns one update, as agents send them for each piece of text. */
export function updateOf(sessionId: string, index: number): RowMessage {
  const update = { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text, index } }
  return { jsonrpc: '2.0', method: 'session/update', params: { sessionId, update } }
}

/** Returns the response of the agent to a request that is no prompt. */
export function responseOf({ id = 0, method }: RowMessage): RowMessage {
  const result = method === 'initialize' ? { protocolVersion: 1 } : { sessionId: 'a-session' }
  return { jsonrpc: '2.0', id, result }
}

/** Returns the number of updates that a prompt asks for. */
export function updatesOf({ params }: RowMessage): { sessionId: string; updates: number } {
  return params as { sessionId: string; updates: number } // a prompt of promptOf
}

export const initializeMessage = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: 1 },
} as const
export const newSessionMessage = {
  jsonrpc: '2.0',
  id: 1,
  method: 'session/new',
  params: { cwd: '/', mcpServers: [] },
} as const

/** Returns a prompt for so many updates. */
export function promptOf(id: number, updates: number): RowMessage & { readonly id: number; readonly method: string } {
  const params = { sessionId: 'a-session', updates, prompt: [] }
  return { jsonrpc: '2.0', id, method: 'session/prompt', params }
}

/** Counts the updates of a client, and resolves waits for responses. */
export class Received {
  #updates = 0
  #isInOrder = true
  readonly #waiting = new Map<number, () => void>()

  take(message: RowMessage): void {
    if (message.method === 'session/update') {
      const { update } = message.params as { update: { content: { index: number } } } // an update of updateOf
      if (update.content.index !== this.#updates++) this.#isInOrder = false
    } else if (message.id !== undefined) this.#waiting.get(message.id)?.()
  }

  /** Begins a new count, and resolves with it when the response has come. */
  async response(id: number, send: () => unknown): Promise<{ received: number; isInOrder: boolean }> {
    this.#updates = 0
    this.#isInOrder = true
    const response = new Promise<void>(resolve => this.#waiting.set(id, resolve))
    await send()
    await response
    this.#waiting.delete(id)
    return { received: this.#updates, isInOrder: this.#isInOrder }
  }
}
