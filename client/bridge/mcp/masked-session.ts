/**
 * Users' tokens stay out of the words of servers, which may repeat what they were sent: every way from a server to a
 * model, a store, a record or a log leads through a session.
 */
import { textsOfSecrets } from '../wire/secret-mask.js'
import type { McpSession } from './mcp-session.js'
import { SessionError, sessionErrorOf } from './session-error.js'

/** Tokens that are remembered: the current one, and the ones before it, whose responses may be under way. */
const maxTokens = 4

/** Replaces the tokens that a session has sent. */
export class TokenMask {
  #tokens: string[] = []
  #writings: readonly string[] = []

  /** Notes a token before it is sent. */
  add(token: string): void {
    if (this.#tokens.at(-1) === token) return
    this.#tokens = [...this.#tokens.filter(known => known !== token), token].slice(-maxTokens)
    this.#writings = textsOfSecrets(this.#tokens)
  }

  /** Returns a text without the tokens, in each of their writings. */
  text(text: string): string {
    return this.#writings.reduce((rest, writing) => rest.replaceAll(writing, '[secret]'), text)
  }

  /** Returns a value out of JSON without the tokens, in any text and in any name. Changes the value itself. */
  value(value: unknown): unknown {
    // A list instead of a recursion: a server may nest as deep as it likes.
    const root = { value }
    const open: object[] = [root]
    for (let object = open.pop(); object; object = open.pop()) {
      if (Array.isArray(object)) this.#maskElements(object, open)
      else this.#maskMembers(object, open)
    }
    return root.value
  }

  #maskElements(elements: unknown[], open: object[]): void {
    for (const [index, element] of elements.entries()) {
      if (typeof element === 'string') elements[index] = this.text(element)
      else if (typeof element === 'object' && element !== null) open.push(element)
    }
  }

  #maskMembers(members: object, open: object[]): void {
    for (const name of Object.keys(members)) {
      const member: unknown = Reflect.get(members, name)
      const value = typeof member === 'string' ? this.text(member) : member
      const shown = this.text(name)
      if (shown !== name) Reflect.deleteProperty(members, name)
      if (shown !== name || value !== member) {
        // An assignment to `__proto__` would be none.
        const descriptor = { value, writable: true, enumerable: true, configurable: true }
        Object.defineProperty(members, shown, descriptor)
      }
      if (typeof value === 'object' && value !== null) open.push(value)
    }
  }
}

/** Waits for a session, whose results and errors then hold no token of the mask. @throws SessionError, masked too */
export async function maskedSession(beginning: Promise<McpSession>, mask: TokenMask): Promise<McpSession> {
  const session = await beginning.catch(fail)
  return {
    request: async (method, params, options) => mask.value(await session.request(method, params, options).catch(fail)),
    end: () => session.end(),
  }

  /** The cause is left out: it has the server's words too. */
  function fail(thrown: unknown): never {
    const { failure, message } = sessionErrorOf(thrown, false)
    throw new SessionError(failure, mask.text(message))
  }
}
