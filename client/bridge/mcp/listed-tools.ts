/** The tools in a response of an MCP server, which may hold anything. */
import { conversationLimits, toolLimits as limits } from '../../../shared/contract/limits.js'
import {
  cleanJsonObject,
  cleanText,
  cutToLength,
  isPlainObject,
  type JsonObject,
  JsonRejected,
} from '../../../shared/values/text.js'

/** A tool as its server describes it. */
export interface ListedTool {
  bareName: string
  description: string
  inputSchema: JsonObject
}

/** A page of a list of tools. */
export interface ToolPage {
  tools: ListedTool[]
  /** tools that cannot be offered: without a name, or with a schema that is none or too large */
  leftOut: number
  /** undefined on the last page */
  nextCursor: string | undefined
}

/** Reads a result of `tools/list`. Each tool is read for itself, so a bad one hides no other. Never throws. */
export function readToolPage(result: unknown): ToolPage {
  const { tools, nextCursor } = isPlainObject(result) ? result : {}
  const listed: unknown[] = Array.isArray(tools) ? tools : []
  const read = listed.map(readTool).filter(tool => tool !== undefined)
  return {
    tools: read,
    leftOut: listed.length - read.length,
    nextCursor: typeof nextCursor === 'string' && nextCursor !== '' ? nextCursor : undefined,
  }
}

function readTool(tool: unknown): ListedTool | undefined {
  if (!isPlainObject(tool)) return undefined
  const { name, title, description, inputSchema } = tool
  if (typeof name !== 'string' || name === '' || name.length > conversationLimits.maxBareNameLength) return undefined
  const schema = readSchema(inputSchema)
  if (!schema) return undefined
  const text = [description, title].find(each => typeof each === 'string' && each !== '')
  return {
    bareName: name,
    description: typeof text === 'string' ? cutToLength(cleanText(text), conversationLimits.maxDescriptionLength) : '',
    inputSchema: schema,
  }
}

/**
 * Copies a schema whole, definitions too. Models call tools with objects only, and OpenAI takes no object without
 * `properties`.
 */
function readSchema(schema: unknown): JsonObject | undefined {
  try {
    const copy = cleanJsonObject(schema ?? {}, limits.maxSchemaBytes, limits.maxSchemaDepth)
    if (!isPlainObject(copy.properties)) copy.properties = {}
    if ('type' in copy) copy.type = 'object'
    return 'type' in copy ? copy : { type: 'object', ...copy }
  } catch (error) {
    if (error instanceof JsonRejected) return undefined
    throw error
  }
}
