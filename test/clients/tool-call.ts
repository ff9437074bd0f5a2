/** The one tool call that the stand-in asks for, in the terms of whichever tools a client offers. */
import { isPlainObject, type JsonObject, type JsonValue } from '../../shared/values/text.js'

/** A tool as a client declares it. */
export interface Tool {
  name: string
  /** JSON schema of its input */
  schema: JsonObject
}

export interface Call {
  name: string
  input: JsonObject
}

/** The prompt of every client. */
export function promptFor(notePath: string): string {
  return `Read the file ${notePath} and repeat its words.`
}

/** Returns the path of the note from a request that holds the prompt. */
export function notePathIn(request: JsonObject): string | undefined {
  return /Read the file (\S+) and repeat its words/.exec(JSON.stringify(request))?.[1]
}

/** Tools that run a command or read a file, in order of preference. */
const suitable = [
  /^(bash|shell|shell_command|exec_command|run_shell_command|run_commands?|execute_command)$/i,
  /^(read|read_file|view|readfile|developer__shell|read_note)$/i,
]

/** Returns a call that prints the note; undefined if no tool is suitable. */
export function callFor(tools: readonly Tool[], notePath: string): Call | undefined {
  for (const pattern of suitable) {
    const tool = tools.find(({ name }) => pattern.test(name))
    if (tool) return { name: tool.name, input: inputFor(tool.schema, notePath) }
  }
  return undefined
}

function inputFor({ properties, required }: JsonObject, notePath: string): JsonObject {
  const input: JsonObject = {}
  for (const [name, schema] of Object.entries(isPlainObject(properties) ? properties : {})) {
    const { type } = isPlainObject(schema) ? schema : {}
    const isRequired = Array.isArray(required) && required.includes(name)
    const value = callValue(name, type, notePath) ?? (isRequired ? fillerOf(type) : undefined)
    if (value !== undefined) input[name] = value
  }
  return input
}

/** The value of a field that takes a command or a path; undefined for other fields. */
function callValue(name: string, type: unknown, notePath: string): JsonValue | undefined {
  if (name === 'commands') return [`cat ${notePath}`]
  if (/^(command|cmd)$/.test(name)) return type === 'array' ? ['cat', notePath] : `cat ${notePath}`
  return /^(file_?path|absolute_path|path|target_file)$/i.test(name) ? notePath : undefined
}

function fillerOf(type: unknown): JsonValue {
  if (type === 'boolean') return false
  if (type === 'number' || type === 'integer') return 10_000
  return type === 'array' ? [] : 'reads the note'
}
