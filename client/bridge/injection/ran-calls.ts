import { type InjectedTool, injectedPrefix, type ToolResult } from '../mcp/injected-tool.js'
import type { ToolCall } from '../providers/provider-api.js'
import type { HiddenCall } from './injection-api.js'

/** The outcome of a call, for its record. */
type Outcome = { error: string | undefined; durationMs: number | undefined }

/** The hidden calls of a request as they are recorded. */
export class RanCalls {
  readonly #tools: ReadonlyMap<string, InjectedTool>
  /** by id, in order: some providers give all calls one id */
  readonly #outcomes = new Map<string, Outcome[]>()

  constructor(tools: readonly InjectedTool[]) {
    this.#tools = new Map(tools.map(tool => [tool.fullName, tool]))
  }

  /** Runs a call and notes the outcome, also of one that is aborted. */
  async run({ callId }: HiddenCall, run: () => Promise<ToolResult>): Promise<ToolResult> {
    const outcome: Outcome = { error: 'the client left before the call ended', durationMs: undefined }
    const known = this.#outcomes.get(callId)
    if (known) known.push(outcome)
    else this.#outcomes.set(callId, [outcome])
    const startedAt = performance.now()
    try {
      const result = await run()
      outcome.error = result.isError ? (result.error ?? 'the tool reported an error') : undefined
      return result
    } finally {
      outcome.durationMs = Math.round(performance.now() - startedAt)
    }
  }

  /**
   * Returns a call of the model as it is recorded: of an injected tool with its own name, its server and the outcome.
   * Takes the outcomes of calls with one id in the order of the calls.
   */
  recorded(call: ToolCall): ToolCall {
    const tool = this.#tools.get(call.tool)
    const outcome = this.#outcomes.get(call.callId)?.shift()
    if (!tool && !call.tool.startsWith(injectedPrefix)) return call
    const { error, durationMs } = outcome ?? { error: 'the call was not run', durationMs: undefined }
    return {
      ...call,
      tool: tool?.bareName ?? call.tool,
      injected: true,
      ...(tool && { serverUrl: tool.serverUrl }),
      ...(error !== undefined && { invocationError: error }),
      ...(durationMs !== undefined && { metadata: { ...call.metadata, duration_ms: durationMs } }),
    }
  }
}
