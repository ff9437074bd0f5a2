/** The state of sessions that an editor on stdio leaves to its far end. */
import { acpClientLimits } from '../../../shared/acp/limits.js'
import {
  type AcpId,
  type AcpMessage,
  type AcpNotification,
  type AcpResponse,
  idKey,
  isObject,
  isRequest,
  isResponse,
  resultSessionIdOf,
  sessionIdOf,
} from '../../../shared/acp/messages.js'
import { sessionEndMethods } from '../../../shared/acp/methods.js'

interface Session {
  /** of `session/new`, `session/load` or `session/resume`, without the id */
  readonly params: Record<string, unknown>
  /** tool calls that have begun and not ended, by their ids */
  readonly openTools: Set<string>
}

interface EditorRequest {
  readonly method: string
  readonly sessionId: string | undefined
  readonly params: unknown
  /** a prompt whose turn the editor has cancelled */
  isCancelled: boolean
}

/** The methods whose success makes a session known. */
const attachMethods = new Set(['session/new', 'session/load', 'session/resume', 'session/fork'])
const endedStates = new Set<unknown>(['completed', 'failed'])

/**
 * Watches both directions. Permission requests and tool calls that are open at a cancel are ended in place of those who
 * forget them: goose waits for ever for a permission, and neither goose nor codex ends a tool call.
 */
export class SessionWatch {
  readonly #sessions = new Map<string, Session>()
  /** requests of the editor that make, use or end a session, by their ids */
  readonly #requests = new Map<string, EditorRequest>()
  /** requests of the agent that the editor has not responded to, by their ids */
  readonly #asked = new Map<string, { id: AcpId; sessionId: string | undefined; isPermission: boolean }>()
  /** ids of requests of the agent that need no response of the editor any more, the oldest first */
  readonly #settled = new Set<string>()
  readonly #respond: (response: AcpResponse) => void

  /** @param respond sends a response to the agent, in the editor's place */
  constructor(respond: (response: AcpResponse) => void) {
    this.#respond = respond
  }

  /** Returns the sessions that the editor works in, with the params that attach to each. */
  get sessions(): [sessionId: string, params: Record<string, unknown>][] {
    return [...this.#sessions].map(([sessionId, { params }]) => [sessionId, { ...params, sessionId }])
  }

  /**
   * Takes note of a message of the editor.
   * @returns whether it goes to the agent; a response that was given in the editor's place does not
   */
  fromEditor(message: AcpMessage): boolean {
    if (isResponse(message)) {
      const key = String(idKey(message.id))
      this.#asked.delete(key)
      return !this.#settled.delete(key)
    }
    const sessionId = sessionIdOf(message)
    if (isRequest(message)) {
      const { method, params } = message
      this.#requests.set(String(idKey(message.id)), { method, sessionId, params, isCancelled: false })
    }
    return true
  }

  /**
   * Responds to the permission requests of a session whose turn the editor has cancelled, and to later ones until the
   * prompts that are open now have their responses.
   */
  cancelPermissions(sessionId: string): void {
    for (const prompt of this.#promptsOf(sessionId)) prompt.isCancelled = true
    for (const [key, { id, isPermission, sessionId: of }] of this.#asked) {
      if (!isPermission || of !== sessionId) continue
      this.#settle(key)
      this.#respond(cancelledPermission(id))
    }
  }

  #promptsOf(sessionId: string | undefined): EditorRequest[] {
    const all = [...this.#requests.values()]
    return all.filter(request => request.method === 'session/prompt' && request.sessionId === sessionId)
  }

  #settle(key: string): void {
    this.#asked.delete(key)
    this.#settled.add(key)
    const [oldest] = this.#settled
    if (this.#settled.size > acpClientLimits.maxPendingRequests && oldest !== undefined) this.#settled.delete(oldest)
  }

  /**
   * Takes note of a message of the agent.
   * @returns the messages that go to the editor: this one, and before the end of a cancelled turn the ends of its tool
   *   calls; none for a permission request of a cancelled turn
   */
  fromAgent(message: AcpMessage): AcpMessage[] {
    if (isResponse(message)) return [...this.#onResponse(message), message]
    if (isRequest(message)) {
      const key = String(idKey(message.id))
      // The agent may use an id again.
      this.#settled.delete(key)
      const isPermission = message.method === 'session/request_permission'
      const sessionId = sessionIdOf(message)
      if (isPermission && this.#promptsOf(sessionId).some(prompt => prompt.isCancelled)) {
        this.#respond(cancelledPermission(message.id))
        return []
      }
      this.#asked.set(key, { id: message.id, sessionId, isPermission })
      return [message]
    }
    if (message.method === 'session/update') this.#onUpdate(message)
    return [message]
  }

  /** Notes that the agent of a lost connection awaits nothing any more. */
  onConnectionLost(): void {
    for (const key of [...this.#asked.keys()]) this.#settle(key)
  }

  #onUpdate({ params }: AcpNotification): void {
    const { sessionId, update } = isObject(params) ? params : {}
    if (typeof sessionId !== 'string' || !isObject(update) || typeof update.toolCallId !== 'string') return
    const tools = this.#sessions.get(sessionId)?.openTools
    if (endedStates.has(update.status)) tools?.delete(update.toolCallId)
    else if (update.sessionUpdate === 'tool_call') tools?.add(update.toolCallId)
  }

  #onResponse(response: AcpResponse): AcpNotification[] {
    const key = String(idKey(response.id))
    const request = this.#requests.get(key)
    if (!request) return []
    this.#requests.delete(key)
    const { method, sessionId, params } = request
    if (method === 'session/prompt') return this.#endTools(sessionId, response)
    if (response.error !== undefined) return []
    const made = resultSessionIdOf(response) ?? sessionId
    if (made === undefined) return []
    if (sessionEndMethods.has(method)) this.#sessions.delete(made)
    else if (attachMethods.has(method)) {
      const openTools = this.#sessions.get(made)?.openTools ?? new Set()
      this.#sessions.set(made, { params: isObject(params) ? { ...params } : {}, openTools })
    }
    return []
  }

  /** Returns the ends of the tool calls of a turn that did not reach its end. */
  #endTools(sessionId: string | undefined, { result, error }: AcpResponse): AcpNotification[] {
    const tools = this.#sessions.get(sessionId ?? '')?.openTools
    const isBroken = error !== undefined || (isObject(result) && result.stopReason === 'cancelled')
    if (!tools || !isBroken) return []
    const ends = [...tools].map((toolCallId): AcpNotification => {
      const update = { sessionUpdate: 'tool_call_update', toolCallId, status: 'failed' }
      return { jsonrpc: '2.0', method: 'session/update', params: { sessionId, update } }
    })
    tools.clear()
    return ends
  }
}

function cancelledPermission(id: AcpId): AcpResponse {
  return { jsonrpc: '2.0', id, result: { outcome: { outcome: 'cancelled' } } }
}
