/** The items of a response of OpenAI Responses: calls, thoughts, and items that leave no record. */
import { isPlainObject } from '../../../../shared/values/text.js'
import type { ToolCall } from '../provider-api.js'
import { errorIn } from '../provider-errors.js'
import { jsonTextOf, metadataOf, objectsOf, qualified, textOf, typeNameOf } from '../reading.js'
import { GrowingText } from './growing-text.js'

/** Type of call → the fields that may hold its input. */
const calls: Readonly<Record<string, readonly string[]>> = {
  function_call: ['arguments'],
  custom_tool_call: ['input'],
  local_shell_call: ['action'],
  shell_call: ['action'],
  computer_call: ['actions', 'action'],
  apply_patch_call: ['operation'],
  tool_search_call: ['arguments'],
  mcp_approval_request: ['arguments'],
  // The provider runs these itself, on MCP servers that the request names.
  mcp_call: ['arguments'],
}

/** Types of items that leave no record, apart from outputs of calls (`…_output`). */
const itemsWithoutRecord = new Set([
  'message',
  'web_search_call',
  'file_search_call',
  'code_interpreter_call',
  'image_generation_call',
  'mcp_list_tools',
  'compaction',
  'context_compaction',
])

/** An item of the response that leaves a record: a call, or thoughts. */
export interface Item {
  call: Omit<ToolCall, 'input' | 'at'> | undefined
  /** the input of a call; or thoughts, by their place in the item */
  texts: Map<unknown, GrowingText>
  at: Date
}

/** Returns whether items of a type are calls. */
export function isCall(type: string): boolean {
  return Object.hasOwn(calls, type)
}

/** Returns the input of a call, from the first of its type's fields that is there; undefined for any other item. */
export function inputOf(item: Record<string, unknown>): unknown {
  const type = textOf(item.type) ?? ''
  return isCall(type) ? calls[type]?.map(field => item[field]).find(isPresent) : undefined
}

/** Returns a call without its input. */
export function callOf(
  type: string,
  json: Record<string, unknown>,
  serverUrls: ReadonlyMap<string, string>,
): NonNullable<Item['call']> {
  const { id, call_id: callId, name, namespace, server_label: label, caller, error } = json
  const isMcp = type === 'mcp_call' || type === 'mcp_approval_request'
  const serverUrl = serverUrls.get(textOf(label) ?? '')
  const metadata = metadataOf({
    namespace: textOf(namespace),
    mcp_server: textOf(label),
    caller: typeNameOf(caller),
    request: type === 'mcp_approval_request' ? 'approval' : undefined,
  })
  return {
    // The result of an MCP call, or the user's approval, names the item.
    callId: textOf(callId) ?? (isMcp ? textOf(id) : undefined) ?? '',
    itemId: textOf(id),
    tool: qualified(textOf(namespace), textOf(name) ?? type.replace(/_call$/, '')),
    ...(serverUrl !== undefined && { serverUrl }),
    ...(type === 'mcp_call' && isPresent(error) && { invocationError: errorIn(error)?.message ?? jsonTextOf(error) }),
    ...(metadata && { metadata }),
  }
}

/**
 * Returns whether the provider runs a call of the client's tools itself: a shell in a container of the provider, or the
 * search for tools that the request lists.
 */
export function runsElsewhere({ type, environment, execution }: Record<string, unknown>): boolean {
  if (type === 'tool_search_call') return execution !== 'client'
  return isPlainObject(environment) && textOf(environment.type)?.startsWith('container') === true
}

/** Returns whether items of a type are neither read nor known to leave no record. */
export function isUnknown(type: string): boolean {
  const isKnown = isCall(type) || type === 'reasoning' || itemsWithoutRecord.has(type)
  return !isKnown && !type.endsWith('_output')
}

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** Returns the number of characters of text, and of inputs of calls, that an item holds. */
export function charactersOf(item: Record<string, unknown>): number {
  const texts = [...objectsOf(item.content), ...objectsOf(item.summary)].map(
    ({ text, refusal }) => textOf(text) ?? textOf(refusal) ?? '',
  )
  const input = inputOf(item)
  const inputText = typeof input === 'string' ? input : input === undefined ? '' : jsonTextOf(input)
  return sumOf([...texts, inputText].map(text => text.length))
}

/** Returns the sum of numbers. */
export function sumOf(numbers: Iterable<number>): number {
  let sum = 0
  for (const number of numbers) sum += number
  return sum
}

/** Returns whether an item holds thoughts: reasoning, or a message that comments on the work. */
export function isThought({ type, phase }: Record<string, unknown>): boolean {
  return type === 'reasoning' || (type === 'message' && phase === 'commentary')
}

/**
 * Returns the thoughts of an item: each part of a summary is one, so is each part of the reasoning itself, and a
 * message of any number of parts is one.
 */
export function thoughtsOf({ type, summary, content }: Record<string, unknown>): Item['texts'] {
  if (type !== 'reasoning') {
    const texts = objectsOf(content).map(({ text }) => textOf(text) ?? '')
    return new Map([[0, wholeText(texts.join(''))]])
  }
  const summaries = objectsOf(summary).map(({ text }, index) => [index, wholeText(text)] as const)
  const parts = objectsOf(content).filter(part => part.type === 'reasoning_text')
  return new Map<unknown, GrowingText>([
    ...summaries,
    ...parts.map(({ text }, index) => [reasoningPart(index), wholeText(text)] as const),
  ])
}

/** Returns the key of a part of the reasoning itself, which has places of its own beside the summary. */
export function reasoningPart(index: unknown): string {
  return `reasoning ${index ?? 0}`
}

/** Returns whether one of the texts has a character. */
export function hasText(texts: Item['texts']): boolean {
  return [...texts.values()].some(text => !text.empty)
}

/** Replaces the input that was received in parts, unless the whole input is empty. */
export function replaceInput(call: Item | undefined, input: unknown): void {
  const text = wholeText(input)
  if (!text.empty) call?.texts.set(undefined, text)
}

/** Appends a delta to a part of an item; anything but text, or a delta without its item, is left out. */
export function append(item: Item | undefined, part: unknown, delta: unknown): void {
  if (!item || typeof delta !== 'string') return
  const text = item.texts.get(part) ?? new GrowingText()
  text.append(delta)
  item.texts.set(part, text)
}

/** Returns text as it is, and any other value as JSON. */
export function wholeText(value: unknown): GrowingText {
  const text = new GrowingText()
  if (value !== undefined && value !== null) text.append(typeof value === 'string' ? value : jsonTextOf(value))
  return text
}
