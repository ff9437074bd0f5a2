/**
 * Reads on whose behalf a client sends a request: its agents, the user's prompt behind it, and its kind. Claude Code
 * (https://code.claude.com/docs/en/llm-gateway-protocol), Codex (codex-rs/core/src/responses_metadata.rs) and Copilot.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { recordLimits } from '../../../../shared/contract/limits.js'
import { isPlainObject, type JsonObject } from '../../../../shared/values/text.js'
import { parsed, textOf } from '../reading.js'

/**
 * Returns the `metadata` of an interception; undefined if nothing is known. Every value is an id, a name or a number,
 * never a sentence.
 * @param ownKind the kind of request that its texts show, see {@link import('./own-request.js').ownKindOf}
 */
export function attributionOf(headers: IncomingHttpHeaders, ownKind: string | undefined): JsonObject | undefined {
  const codex = codexMetadata(headers)
  const parentThread = header(headers, 'x-codex-parent-thread-id') ?? textOf(codex.parent_thread_id)
  const subagent = header(headers, 'x-openai-subagent') ?? textOf(codex.subagent_kind)
  const isSubagent = parentThread !== undefined || subagent !== undefined
  const fields = {
    agent_id: header(headers, 'x-claude-code-agent-id') ?? (isSubagent ? textOf(codex.thread_id) : undefined),
    parent_agent_id: header(headers, 'x-claude-code-parent-agent-id') ?? parentThread,
    prompt_id: header(headers, 'x-claude-code-prompt-id') ?? textOf(codex.root_turn_id) ?? textOf(codex.turn_id),
    agent_type: header(headers, 'x-claude-code-agent-type') ?? subagent,
    request_kind:
      claudeKind(headers, ownKind) ??
      codexKind(textOf(codex.request_kind), subagent, isSubagent) ??
      copilotKind(headers),
  }
  const metadata: JsonObject = {}
  for (const [name, value] of Object.entries(fields)) {
    const id = value === undefined ? undefined : idOf(value)
    if (id !== undefined) metadata[name] = id
  }
  const durations = toolDurations(header(headers, 'x-claude-code-prev-tool-durations'))
  if (durations.length > 0) metadata.tool_durations = durations
  return Object.keys(metadata).length === 0 ? undefined : metadata
}

/** Returns the kind that Claude Code names, or that the texts of the request show. */
function claudeKind(headers: IncomingHttpHeaders, ownKind: string | undefined): string | undefined {
  if (header(headers, 'x-claude-code-compaction') !== undefined) return 'compaction'
  const named = header(headers, 'x-claude-code-request-class')
  // `auxiliary` holds titles and suggestions, which the texts tell apart.
  if (named !== undefined && named !== 'auxiliary') return named
  if (ownKind !== undefined) return ownKind
  return named ?? (header(headers, 'x-claude-code-agent-id') === undefined ? undefined : 'subagent')
}

function codexKind(named: string | undefined, subagent: string | undefined, isSubagent: boolean): string | undefined {
  if (subagent === 'compact') return 'compaction'
  return isSubagent && (named === undefined || named === 'turn') ? 'subagent' : named
}

/** `X-Interaction-Type` of Copilot → the kind; `X-Initiator` says the rest: `user` or, for a further step, `agent`. */
const interactionKinds: Readonly<Record<string, string>> = {
  'conversation-subagent': 'subagent',
  'conversation-compaction': 'compaction',
  'conversation-background': 'auxiliary',
}

function copilotKind(headers: IncomingHttpHeaders): string | undefined {
  const interaction = header(headers, 'x-interaction-type') ?? ''
  return Object.hasOwn(interactionKinds, interaction) ? interactionKinds[interaction] : header(headers, 'x-initiator')
}

/** Returns Codex' metadata of a turn, a JSON object in a header; an empty object without any. */
function codexMetadata(headers: IncomingHttpHeaders): Record<string, unknown> {
  const text = header(headers, 'x-codex-turn-metadata')
  const json = text === undefined ? undefined : parsed(text)
  return isPlainObject(json) ? json : {}
}

function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? textOf(value.trim()) : undefined
}

/** Returns a value that is an id or a name, cut to the length of names; undefined for any other text. */
function idOf(value: string): string | undefined {
  const id = value.slice(0, recordLimits.maxNameLength)
  return /^[\w.:/@+-]+$/.test(id) ? id : undefined
}

/** Returns the durations in `Bash=742;Read=9`: of the tools whose results the request carries, in milliseconds. */
function toolDurations(text: string | undefined): JsonObject[] {
  const durations: JsonObject[] = []
  for (const part of text?.split(';', maxDurations) ?? []) {
    const [, name = '', ms] = /^\s*([^=]{1,256})=(\d{1,12})\s*$/.exec(part) ?? []
    const tool = idOf(name)
    if (tool !== undefined) durations.push({ tool, ms: Number(ms) })
  }
  return durations
}

/** Claude Code sends at most 32. */
const maxDurations = 64
