/** The client's choice of tools (`tool_choice`) in the rounds behind the first one. */
import { isPlainObject, type JsonValue } from '../../../../shared/values/text.js'
import type { JsonEdits } from '../../wire/json-edit.js'

/**
 * Takes back a demand for a call that a hidden call has met: the demand is for the next response, and with it in every
 * round a model that picks an injected tool could never finish. The model is free to call or to speak then. A demand
 * for the client's own tools stays, for no hidden call can meet it. The limits of `allowed_tools` stay too.
 * @param called names of the hidden calls so far
 */
export function freeChoice(edits: JsonEdits, choice: JsonValue | undefined, called: ReadonlySet<string>): void {
  if (called.size === 0) return
  if (choice === 'required') edits.set(['tool_choice'], '"auto"')
  if (!isPlainObject(choice)) return
  if (isNamed(choice, called)) edits.set(['tool_choice'], '"auto"')
  else if (choice.type === 'allowed_tools') {
    // Responses has the fields of the choice beside its type, Chat Completions in a member.
    const { allowed_tools: inner } = choice
    if (isPlainObject(inner)) freeAllowed(edits, ['tool_choice', 'allowed_tools', 'mode'], inner, called)
    else freeAllowed(edits, ['tool_choice', 'mode'], choice, called)
  }
}

function freeAllowed(
  edits: JsonEdits,
  path: readonly [string, ...string[]],
  { mode, tools }: Readonly<Record<string, unknown>>,
  called: ReadonlySet<string>,
): void {
  if (mode === 'required' && Array.isArray(tools) && tools.some(tool => isNamed(tool, called)))
    edits.set(path, '"auto"')
}

/** Returns whether a function is one of the names; Chat Completions has its name in a member. */
function isNamed(tool: unknown, names: ReadonlySet<string>): boolean {
  if (!isPlainObject(tool) || tool.type !== 'function') return false
  const { name } = isPlainObject(tool.function) ? tool.function : tool
  return typeof name === 'string' && names.has(name)
}
