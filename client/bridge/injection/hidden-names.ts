import { isPlainObject, type JsonObject } from '../../../shared/values/text.js'
import { type InjectedTool, injectedPrefix } from '../mcp/injected-tool.js'
import { parsed } from '../providers/reading.js'
import type { HiddenCall } from './injection-api.js'

/** Tells the calls of injected tools from those of the client's tools. */
export class HiddenNames {
  readonly #tools: ReadonlyMap<string, InjectedTool>
  readonly #clientNames: ReadonlySet<string>

  constructor(tools: readonly InjectedTool[], clientNames: ReadonlySet<string>) {
    this.#tools = new Map(tools.map(tool => [tool.fullName, tool]))
    this.#clientNames = clientNames
  }

  /** Returns whether a call is hidden: the tool was injected, or looks injected, and is none of the client's. */
  has(name: string): boolean {
    return !this.#clientNames.has(name) && (this.#tools.has(name) || name.startsWith(injectedPrefix))
  }

  /**
   * Makes a hidden call.
   * @param input the provider's JSON text; empty text is an empty object, as some models write it
   */
  callOf(callId: string, name: string, input: string): HiddenCall {
    return { callId, tool: this.#tools.get(name), name, input, arguments: argumentsOf(input) }
  }
}

function argumentsOf(input: string): JsonObject | undefined {
  const value = input.trim() === '' ? {} : parsed(input)
  return isPlainObject(value) ? (value as JsonObject) : undefined // came out of JSON.parse
}
