import type { ResponseReceiver } from '../relay/upstream-call.js'
import { findHeader, isEventStream, isPlain, type ResponseHead, withoutHeaders } from '../wire/headers.js'
import { maxServerSessionIdLength } from './session-ids.js'
import type { ToolFilter } from './tool-filter.js'
import { type BodyEdit, JsonListEdit, StreamListEdit, TooLarge, Unreadable } from './tool-list.js'

/** The header that names a session. */
export const sessionHeader = 'mcp-session-id'

/** Response headers about the credential, which is the bridge's business, and about other addresses of the server. */
const ownOfServer = ['www-authenticate', 'location', sessionHeader]

/** The reason why a response does not pass. */
export type Unusable = 'unauthorized' | 'redirect' | 'unreadable' | 'too_large'

/** Options of {@link ServerResponse}. */
export interface ServerResponseOptions {
  /** leaves tools out of lists in the response; undefined: the response holds none */
  offers: ToolFilter | undefined
  /** largest message that is held to be read */
  maxMessageBytes: number
  /** Takes the status, and the session's id as the server names it. Returns the id for the client. */
  onHead: (status: number, sessionId: string | undefined) => string | undefined
}

/**
 * Passes the response of an MCP server on to a receiver, without the tools that are not offered and with the session's
 * id as clients see it. A response that must not pass ends the call: {@link unusable} says why.
 */
export class McpServerResponse implements ResponseReceiver {
  readonly #receiver: ResponseReceiver
  readonly #options: ServerResponseOptions
  #edit: BodyEdit | undefined
  /** waits for the body that is held as a whole, and may turn out not to pass */
  #head: ResponseHead | undefined
  #unusable: Unusable | undefined

  constructor(receiver: ResponseReceiver, options: ServerResponseOptions) {
    this.#receiver = receiver
    this.#options = options
  }

  /** set if the response did not pass */
  get unusable(): Unusable | undefined {
    return this.#unusable
  }

  head(head: ResponseHead): void {
    const { status } = head
    // A token must not follow a redirect, and a client that followed it would show its key of the bridge.
    if (status === 401) throw this.#stop('unauthorized')
    if (status >= 300 && status < 400) throw this.#stop('redirect')
    this.#edit = this.#editOf(head)
    const given = findHeader(head.headers, sessionHeader)
    if (given !== undefined && given.length > maxServerSessionIdLength) throw this.#stop('unreadable')
    const sessionId = this.#options.onHead(status, given)
    const dropped = this.#edit ? [...ownOfServer, 'content-length'] : ownOfServer
    const headers = withoutHeaders(head.headers, dropped)
    if (sessionId !== undefined) headers.push(sessionHeader, sessionId)
    this.#head = { status, statusText: head.statusText, headers }
    if (!(this.#edit instanceof JsonListEdit)) this.#passHead()
  }

  chunk(chunk: Buffer, isLast: boolean): Promise<void> | undefined {
    const edit = this.#edit
    if (!edit) return this.#receiver.chunk(chunk, isLast)
    const passed = this.#held(() => edit.push(chunk))
    if (!isLast) return passed.length > 0 ? this.#receiver.chunk(passed, false) : undefined
    const rest = this.#held(() => edit.end())
    this.#edit = undefined
    this.#passHead()
    return this.#receiver.chunk(Buffer.concat([passed, rest]), true)
  }

  /** Passes on the bytes that were held. Has to be called after a call that ended well, and after no other. */
  async flush(): Promise<void> {
    const edit = this.#edit
    const rest = edit && this.#held(() => edit.end())
    this.#edit = undefined
    this.#passHead()
    if (rest?.length) await this.#receiver.chunk(rest, false)
  }

  #passHead(): void {
    if (this.#head) this.#receiver.head(this.#head)
    this.#head = undefined
  }

  #editOf({ status, headers }: ResponseHead): BodyEdit | undefined {
    const { offers, maxMessageBytes } = this.#options
    // No client reads a list in an error, which may be a page of a proxy.
    if (!offers || status >= 400) return undefined
    if (!isPlain(headers)) throw this.#stop('unreadable')
    return isEventStream(headers)
      ? new StreamListEdit(offers, maxMessageBytes)
      : new JsonListEdit(offers, maxMessageBytes)
  }

  #held(run: () => Buffer): Buffer {
    try {
      return run()
    } catch (error) {
      if (error instanceof TooLarge) this.#stop('too_large')
      if (error instanceof Unreadable) this.#stop('unreadable')
      throw error
    }
  }

  #stop(unusable: Unusable): Error {
    this.#unusable = unusable
    return new Error(`the response does not pass: ${unusable}`)
  }
}
